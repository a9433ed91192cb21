"""Withdraw money that is there: python withdraw.py http://127.0.0.1:8000 account-1 30 [id of the withdrawal]"""

import os
import sys
from uuid import UUID, uuid4

from factwire_client import Fact, Factwire, FactwireError, NewFact, Problem, Query

ATTEMPTS = 20


def withdraw(log: Factwire, account: str, amount: int, id: str) -> str:
    def decide(facts: list[Fact]) -> NewFact | None:
        if any(fact.id == id for fact in facts):
            return None  # withdrawn before, or by an attempt whose answer was lost
        balance = sum(fact.payload["amount"] * (1 if fact.type == "MoneyDeposited" else -1) for fact in facts)
        if not 0 < amount <= balance:
            sys.exit(f"refused: the balance is {balance}")
        return NewFact("bank", "MoneyWithdrawn", {"amount": amount}, id=id, aggregate_ids=[account])

    movements = Query(["bank"], ["MoneyDeposited", "MoneyWithdrawn"], [account])
    log.decide(movements, decide, attempts=ATTEMPTS)
    return "withdrawn"


def main(url: str, account: str, amount: str, id: str = "") -> None:
    id = str(UUID(id) if id else uuid4())
    with Factwire(url, key=os.environ.get("KEY"), give_up_after=20) as log:
        try:
            print(withdraw(log, account, int(amount), id))
        except Problem as problem:
            if problem.code == "condition-failed" or problem.status >= 500:
                sys.exit(f"unknown: try again with the id {id}")
            sys.exit(problem.text)
        except FactwireError:
            sys.exit(f"unknown: try again with the id {id}")


if __name__ == "__main__":
    main(*sys.argv[1:])
