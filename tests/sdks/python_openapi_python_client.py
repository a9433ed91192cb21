"""The scenario with the client of openapi-python-client."""

import json
import sys
from uuid import uuid4

import httpx
from factwire_sdk import Client
from factwire_sdk.api.facts import get_position, publish, read
from factwire_sdk.models import (
    ConditionBody,
    ConditionItemBody,
    LogPosition,
    NewFactBody,
    NewFactBodyMeta,
    Page,
    Problem,
    PublishBody,
    PublishResult,
)


def tell(**step: object) -> None:
    print(json.dumps(step), flush=True)


def order(number: int, kind: str = "OrderPlaced") -> NewFactBody:
    return NewFactBody(
        id=uuid4(),
        namespace="shop",
        type_=kind,
        aggregate_ids=[f"order-{number}"],
        meta=NewFactBodyMeta.from_dict({"tenant": "a", "labels": ["x", "y"]}),
        payload={"number": number},
    )


def once(number: int, after: str) -> PublishBody:
    """An order that nobody has placed yet."""
    condition = ConditionBody(fail_if_match=[ConditionItemBody(aggregate_ids=[f"order-{number}"])], after=after)
    return PublishBody(facts=[order(number)], condition=condition)


def published(client: Client, body: PublishBody) -> int:
    result = publish.sync(client=client, body=body)
    assert isinstance(result, PublishResult), result
    return result.position


def publish_with_a_condition_and_retry(client: Client) -> None:
    start = get_position.sync(client=client)
    assert isinstance(start, LogPosition)
    body = once(1, start.cursor)
    tell(published=published(client, body))
    refused = publish.sync_detailed(client=client, body=once(1, start.cursor))
    assert isinstance(refused.parsed, Problem)
    tell(refused=refused.parsed.type_, status=refused.status_code)
    tell(replayed=published(client, body))


def page(client: Client) -> str:
    publish.sync(client=client, body=PublishBody(facts=[order(number) for number in range(2, 7)]))
    found: list[tuple[int, object]] = []
    cursor = "start"
    while True:
        page = read.sync(client=client, namespace=["shop"], after=cursor, limit=2)
        assert isinstance(page, Page)
        found += [(fact.position, fact.meta["labels"]) for fact in page.facts]
        cursor = page.cursor
        if page.caught_up:
            tell(paged=[position for position, _ in found], labels=found[0][1])
            return cursor


def follow(client: Client, cursor: str) -> None:
    tell(following=True)
    followed: list[int] = []
    last = None
    while last != "OrdersClosed":
        try:
            page = read.sync(client=client, namespace=["shop"], after=cursor, wait_seconds=20)
        except httpx.TransportError:
            continue
        assert isinstance(page, Page), page
        followed += [fact.position for fact in page.facts]
        last = page.facts[-1].type_ if page.facts else None
        cursor = page.cursor
    tell(followed=followed)


direct, through_a_bad_network = (Client(url, timeout=httpx.Timeout(30)) for url in sys.argv[1:3])
publish_with_a_condition_and_retry(direct)
follow(through_a_bad_network, page(direct))
