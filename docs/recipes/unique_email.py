"""Give a user an e-mail address that no other has: python unique_email.py http://127.0.0.1:8000 user-1 ada@example.com

SECRET in the environment, the same for everyone, makes the tags: without it, addresses cannot be guessed from the tags.
"""

import hmac
import os
import sys

from factwire_client import Fact, Factwire, FactwireError, NewFact, Problem, Query

ATTEMPTS = 20


def tag_of(email: str) -> str:
    """What an address is found by. It shows nothing of it, and is the same however the address is capitalized."""
    return hmac.digest(os.environ["SECRET"].encode(), email.strip().lower().encode(), "sha256").hex()


def claim(log: Factwire, user: str, email: str) -> None:
    tag = tag_of(email)

    def decide(facts: list[Fact]) -> list[NewFact]:
        holders: dict[str, str] = {}  # who holds which tag, as far as these facts tell
        for fact in facts:
            if fact.type == "EmailClaimed":
                holders[str(fact.meta["email"])] = fact.aggregate_ids[0]
            elif fact.type == "EmailReleased":
                del holders[str(fact.meta["email"])]
        if holders.get(tag) == user:
            return []  # claimed before, or by an attempt whose answer was lost
        if tag in holders:
            sys.exit("taken")
        released = [new_fact(user, "EmailReleased", old, None) for old, holder in holders.items() if holder == user]
        return [*released, new_fact(user, "EmailClaimed", tag, {"email": email})]

    about = [Query(namespaces=["users"], meta={"email": tag}), Query(namespaces=["users"], aggregate_ids=[user])]
    log.decide(about, decide, attempts=ATTEMPTS)


def new_fact(user: str, type: str, tag: str, payload: object) -> NewFact:
    return NewFact("users", type, payload, aggregate_ids=[user], meta={"email": tag})


def main(url: str, user: str, email: str) -> None:
    with Factwire(url, key=os.environ.get("KEY"), give_up_after=20) as log:
        try:
            claim(log, user, email)
        except Problem as problem:
            sys.exit("unknown: try again" if problem.code == "condition-failed" else problem.text)
        except FactwireError:
            sys.exit("unknown: try again")
    print("claimed")


if __name__ == "__main__":
    main(*sys.argv[1:])
