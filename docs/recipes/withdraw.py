"""Withdraw money that is there: python withdraw.py http://127.0.0.1:8000 account-1 30 [id of the withdrawal]"""

import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
ATTEMPTS = 20


@dataclass
class Account:
    """What the facts of an account add up to, as far as they were read."""

    id: str
    balance: int = 0
    withdrawals: set[str] = field(default_factory=set)
    cursor: str = "start"

    def apply(self, fact: dict[str, Any]) -> None:
        if fact["type"] == "MoneyDeposited":
            self.balance += fact["payload"]["amount"]
        elif fact["type"] == "MoneyWithdrawn":
            self.balance -= fact["payload"]["amount"]
            self.withdrawals.add(fact["id"])


def read(client: httpx.Client, account: Account) -> None:
    """Read what was published since the account was read last."""
    caught_up = False
    while not caught_up:
        query = {"namespace": "bank", "aggregate_id": account.id, "after": account.cursor}
        page = checked(client.get("/v1/facts", params=query)).json()
        for fact in page["facts"]:
            account.apply(fact)
        account.cursor, caught_up = page["cursor"], page["caught_up"]
    account.cursor = page["head_cursor"]


def publish(client: httpx.Client, account: Account, amount: int, id: str) -> None:
    withdrawal = {"id": id, "namespace": "bank", "type": "MoneyWithdrawn", "aggregate_ids": [account.id]}
    decision = {
        "facts": [withdrawal | {"payload": {"amount": amount}}],
        "condition": {
            "fail_if_match": [{"namespaces": ["bank"], "aggregate_ids": [account.id]}],  # what was read
            "after": account.cursor,  # and how far
        },
    }
    checked(client.post("/v1/facts", json=decision))


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, unless another attempt may get a better one; a problem that would come back ends the program."""
    overtaken = answer.status_code == 409 and "urn:factwire:problem:condition-failed" in answer.text
    if overtaken or answer.status_code in (408, 429) or answer.is_server_error:
        raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
    return answer if answer.is_success else sys.exit(answer.text)


def withdraw(url: str, account_id: str, amount: int, id: str) -> str:
    account = Account(account_id)
    with httpx.Client(base_url=url, headers=HEADERS, timeout=30) as client:
        for attempt in range(ATTEMPTS):
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                read(client, account)
                if id in account.withdrawals:
                    return "withdrawn"  # by an attempt whose answer was lost
                if not 0 < amount <= account.balance:
                    sys.exit(f"refused: the balance is {account.balance}")
                publish(client, account, amount, id)
                return "withdrawn"
            time.sleep(random.uniform(0, min(2, 0.02 * 2**attempt)))
    sys.exit(f"unknown: try again with the id {id}")


if __name__ == "__main__":
    url, account_id, amount, *known = sys.argv[1:]
    print(withdraw(url, account_id, int(amount), str(UUID(known[0]) if known else uuid4())))
