"""Give a user an e-mail address that no other has: python unique_email.py http://127.0.0.1:8000 user-1 ada@example.com

SECRET in the environment, the same for everyone, makes the tags: without it, addresses cannot be guessed from the tags.
"""

import hmac
import os
import random
import sys
import time
from contextlib import suppress
from typing import Any

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
ATTEMPTS = 20


class Overtaken(Exception):
    """Another attempt may get a better answer."""


def tag_of(email: str) -> str:
    """What an address is found by. It shows nothing of it, and is the same however the address is capitalized."""
    return hmac.digest(os.environ["SECRET"].encode(), email.strip().lower().encode(), "sha256").hex()


def read(client: httpx.Client, query: dict[str, Any]) -> tuple[dict[str, str], str]:
    """Who holds which tag, as far as the query tells, and the cursor of the head at which it was read."""
    holders: dict[str, str] = {}
    cursor, caught_up = "start", False
    while not caught_up:
        page = checked(client.post("/v1/facts/search", params={"after": cursor}, json=query)).json()
        for fact in page["facts"]:
            if fact["type"] == "EmailClaimed":
                holders[fact["meta"]["email"]] = fact["aggregate_ids"][0]
            elif fact["type"] == "EmailReleased":
                del holders[fact["meta"]["email"]]
        cursor, caught_up = page["cursor"], page["caught_up"]
    return holders, page["head_cursor"]


def claim(client: httpx.Client, user: str, email: str) -> str:
    tag = tag_of(email)
    about = [{"namespaces": ["users"], "meta": {"email": tag}}, {"namespaces": ["users"], "aggregate_ids": [user]}]
    holders, head_cursor = read(client, {"items": about})
    if holders.get(tag) == user:
        return "claimed"  # before, or by an attempt whose answer was lost
    if tag in holders:
        sys.exit("taken")
    released = [fact_of(user, "EmailReleased", old, None) for old, holder in holders.items() if holder == user]
    facts = [*released, fact_of(user, "EmailClaimed", tag, {"email": email})]
    condition = {"fail_if_match": about, "after": head_cursor}  # what was read, and how far
    checked(client.post("/v1/facts", json={"facts": facts, "condition": condition}))
    return "claimed"


def fact_of(user: str, type: str, tag: str, payload: object) -> dict[str, Any]:
    return {"namespace": "users", "type": type, "aggregate_ids": [user], "meta": {"email": tag}, "payload": payload}


def checked(answer: httpx.Response) -> httpx.Response:
    overtaken = answer.status_code == 409 and "urn:factwire:problem:condition-failed" in answer.text
    if overtaken or answer.status_code in (408, 429) or answer.is_server_error:
        raise Overtaken
    return answer if answer.is_success else sys.exit(answer.text)


def main(url: str, user: str, email: str) -> str:
    with httpx.Client(base_url=url, headers=HEADERS, timeout=30) as client:
        for attempt in range(ATTEMPTS):
            with suppress(httpx.TransportError, Overtaken):
                return claim(client, user, email)
            time.sleep(random.uniform(0, min(2, 0.02 * 2**attempt)))
    sys.exit("unknown: try again")


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
