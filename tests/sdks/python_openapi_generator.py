"""The scenario with the client of openapi-generator for Python."""

import json
import sys
from uuid import uuid4

from factwire_sdk import (
    ApiClient,
    Bound,
    ConditionBody,
    ConditionItemBody,
    Configuration,
    FactsApi,
    MetaValue,
    NewFactBody,
    PublishBody,
)
from factwire_sdk.exceptions import ApiException
from urllib3.exceptions import HTTPError


def tell(**step: object) -> None:
    print(json.dumps(step), flush=True)


def order(number: int, kind: str = "OrderPlaced") -> NewFactBody:
    return NewFactBody(
        id=uuid4(),
        namespace="shop",
        type=kind,
        aggregate_ids=[f"order-{number}"],
        meta={"tenant": MetaValue("a"), "labels": MetaValue(["x", "y"])},
        payload={"number": number},
    )


def once(number: int, after: str) -> PublishBody:
    """An order that nobody has placed yet."""
    condition = ConditionBody(fail_if_match=[ConditionItemBody(aggregate_ids=[f"order-{number}"])], after=Bound(after))
    return PublishBody(facts=[order(number)], condition=condition)


def publish_with_a_condition_and_retry(facts: FactsApi) -> None:
    start = facts.get_position().cursor
    body = once(1, start)
    tell(published=facts.publish(body).position)
    try:
        facts.publish(once(1, start))
    except ApiException as error:
        tell(refused=json.loads(error.body)["type"], status=error.status)
    tell(replayed=facts.publish(body).position)


def page(facts: FactsApi) -> str:
    facts.publish(PublishBody(facts=[order(number) for number in range(2, 7)]))
    found: list[tuple[int, object]] = []
    cursor = "start"
    while True:
        read = facts.read(namespace=["shop"], after=cursor, limit=2)
        found += [(fact.position, fact.meta["labels"].actual_instance) for fact in read.facts]
        cursor = read.cursor
        if read.caught_up:
            tell(paged=[position for position, _ in found], labels=found[0][1])
            return cursor


def export_and_import(facts: FactsApi) -> None:
    lines = facts.export_facts(namespace=["shop"])
    last = facts.import_facts(bytes(lines)).decode().splitlines()[-1]
    tell(exported=len(lines.splitlines()), replayed_by_import=json.loads(last)["result"]["replayed"])


def follow(facts: FactsApi, cursor: str) -> None:
    tell(following=True)
    followed: list[int] = []
    last = None
    while last != "OrdersClosed":
        try:
            read = facts.read(namespace=["shop"], after=cursor, wait_seconds=20)
        except HTTPError:
            continue
        followed += [fact.position for fact in read.facts]
        last = read.facts[-1].type if read.facts else None
        cursor = read.cursor
    tell(followed=followed)


direct, through_a_bad_network = (FactsApi(ApiClient(Configuration(host=url))) for url in sys.argv[1:3])
publish_with_a_condition_and_retry(direct)
cursor = page(direct)
export_and_import(direct)
follow(through_a_bad_network, cursor)
