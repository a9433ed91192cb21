"""docs/conditions.md: each condition, published where it holds and where it does not."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import StartService
from tests.docs.test_blocks import BLOCK
from tests.docs.test_documents import ROOT

Json = dict[str, Any]

PAGE = (ROOT / "docs" / "conditions.md").read_text()
KEPT_ID = "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10"


def examples() -> Iterator[tuple[str, str]]:
    """The headings of the page that have a condition, and their conditions."""
    for section in PAGE.split("\n## ")[1:]:
        for kind, text in BLOCK.findall(section):
            assert kind == "json", section
            yield section.partition("\n")[0], text


EXAMPLES = dict(examples())


class Log:
    """A log with namespaces of one test. What is read is the `1:42` of an example; what is read next is its `1:57`."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.mark = uuid4().hex[:8]
        self.cursors: list[str] = []
        self.last_id = ""

    def publish(
        self, *about: str, type: str = "Noted", condition: Json | None = None, **members: Any
    ) -> httpx.Response:
        fact = {"namespace": f"{members.pop('namespace', 'shop')}-{self.mark}", "type": type, "payload": None}
        body = {"facts": [fact | {"aggregate_ids": list(about)} | members]}
        response = self.client.post("/v1/facts", json=body if condition is None else body | {"condition": condition})
        if response.is_success:
            self.last_id = response.json()["facts"][0]["id"]
        return response

    def read(self, id: str, namespace: str = "shop") -> None:
        """Keep the head at which the newest fact about an aggregate was read."""
        query: dict[str, str | int] = {
            "namespace": f"{namespace}-{self.mark}",
            "aggregate_id": id,
            "order": "desc",
            "limit": 1,
        }
        self.cursors.append(self.client.get("/v1/facts", params=query).json()["head_cursor"])

    def decide(self, heading: str, *about: str, **members: Any) -> int:
        """Publish on the condition under a heading, with what this log has in place of the values on the page."""
        text = EXAMPLES[heading].replace(KEPT_ID, self.last_id)
        for shown, cursor in zip(("1:42", "1:57"), self.cursors, strict=False):
            text = text.replace(f'"{shown}"', f'"{cursor}"')
        condition = json.loads(text)
        for item in condition.get("fail_if_match", []) + condition.get("fail_unless_match", []):
            item["namespaces"] = [f"{name}-{self.mark}" for name in item["namespaces"]]
        response = self.publish(*about, condition=condition, **members)
        if response.status_code == 409:
            assert response.json()["type"] == "urn:factwire:problem:condition-failed"
        return response.status_code


def new(log: Log) -> None:
    assert log.decide("The stream is new", "order-1") == 201
    assert log.decide("The stream is new", "order-1") == 409


def exists(log: Log) -> None:
    assert log.decide("The stream exists", "order-1") == 409
    log.publish("order-1")
    assert log.decide("The stream exists", "order-1") == 201


def unchanged(log: Log) -> None:
    log.publish("order-1")
    log.read("order-1")
    log.publish("order-2")
    assert log.decide("Nothing was added since it was read", "order-1") == 201
    assert log.decide("Nothing was added since it was read", "order-1") == 409


def certain_fact(log: Log) -> None:
    log.publish("order-1")
    first = log.last_id
    assert log.decide("A certain fact is the last one", "order-1") == 201
    log.last_id = first
    assert log.decide("A certain fact is the last one", "order-1") == 409
    log.last_id = str(uuid4())
    assert log.decide("A certain fact is the last one", "order-1") == 404


def version(log: Log) -> None:
    six: Json = {"meta": {"version": "6"}}
    assert log.decide("A version from elsewhere", "order-1", **six) == 409
    log.publish("order-1", meta={"version": "5"})
    assert log.decide("A version from elsewhere", "order-1", **six) == 201
    assert log.decide("A version from elsewhere", "order-1", **six) == 409


def several(log: Log) -> None:
    bank: Json = {"namespace": "bank"}
    log.publish("account-1", **bank)
    log.read("account-1", **bank)
    log.publish("account-2", **bank)
    log.read("account-2", **bank)
    assert log.decide("Several streams, each as it was read", "transfer-1", **bank) == 201
    log.publish("account-1", **bank)
    log.read("account-2", **bank)
    log.cursors[1] = log.cursors.pop()
    assert log.decide("Several streams, each as it was read", "transfer-2", **bank) == 409
    log.cursors[0] = log.cursors[1]
    assert log.decide("Several streams, each as it was read", "transfer-2", **bank) == 201


def only_read(log: Log) -> None:
    heading = "A stream that is only read"
    assert log.decide(heading, "order-1") == 409
    log.publish("customer-7", type="CustomerRegistered")
    assert log.decide(heading, "order-1") == 201
    log.publish("customer-7", type="CustomerBlocked")
    assert log.decide(heading, "order-2") == 409


def one_entity(log: Log) -> None:
    heading = "One entity: this is there, that is not"
    log.publish("order-1", type="OrderNoted")
    assert log.decide(heading, "order-1", type="OrderPaid") == 409
    log.publish("order-1", type="OrderPlaced")
    assert log.decide(heading, "order-1", type="OrderPaid") == 201
    assert log.decide(heading, "order-1", type="OrderPaid") == 409


def any_of_many(log: Log) -> None:
    hall: Json = {"namespace": "hall", "type": "SeatTaken"}
    log.publish("seat-4", **hall)
    assert log.decide("Any of many", "seat-2", "seat-3", **hall) == 201
    assert log.decide("Any of many", "seat-1", **hall) == 409


def any_rule(log: Log) -> None:
    enrolled: Json = {"namespace": "school", "type": "Enrolled"}
    log.publish("course-1", "student-1", **enrolled)
    log.read("course-1", "school")
    assert log.decide("A count, a sum, any rule", "course-1", "student-2", **enrolled) == 201
    assert log.decide("A count, a sum, any rule", "course-1", "student-3", **enrolled) == 409
    log.read("course-1", "school")
    log.cursors = log.cursors[1:]
    assert log.decide("A count, a sum, any rule", "course-1", "student-3", **enrolled) == 201


SCENARIOS = {
    "The stream is new": new,
    "The stream exists": exists,
    "Nothing was added since it was read": unchanged,
    "A certain fact is the last one": certain_fact,
    "A version from elsewhere": version,
    "Several streams, each as it was read": several,
    "A stream that is only read": only_read,
    "One entity: this is there, that is not": one_entity,
    "Any of many": any_of_many,
    "A count, a sum, any rule": any_rule,
}


def test_every_condition_of_the_page_is_tried() -> None:
    assert EXAMPLES.keys() == SCENARIOS.keys()


async def test_each_condition_holds_and_fails_as_the_page_says(start_service: StartService) -> None:
    service = await start_service()
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        for scenario in SCENARIOS.values():
            scenario(Log(client))


@pytest.mark.parametrize("wrong", ["larger", "smaller", "own"])
async def test_one_bound_for_two_reads_is_wrong_and_one_for_each_is_right(
    start_service: StartService, wrong: str
) -> None:
    """A change between the two reads, to what was read first: the larger cursor misses it."""
    service = await start_service()
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        log = Log(client)
        log.publish("a")
        log.read("a")
        log.publish("a" if wrong in ("larger", "own") else "b")
        log.read("b")
        items: list[Json] = [{"namespaces": [f"shop-{log.mark}"], "aggregate_ids": [id]} for id in "ab"]
        if wrong == "own":
            condition: Json = {"fail_if_match": [i | {"after": c} for i, c in zip(items, log.cursors, strict=True)]}
            expected = 409  # what was read first was changed meanwhile
        else:
            condition = {"fail_if_match": items, "after": log.cursors[1 if wrong == "larger" else 0]}
            expected = 201 if wrong == "larger" else 409  # missed; and a conflict with what was seen
        assert log.publish("c", condition=condition).status_code == expected
