"""Payloads as classes of the application."""

from dataclasses import dataclass
from uuid import uuid4

import msgspec
import pydantic
import pytest

from factwire_client import Factwire, PayloadInvalid, Query
from tests.support.service import ServiceProcess


class ByPydantic(pydantic.BaseModel):
    total: int


class ByMsgspec(msgspec.Struct):
    total: int


@dataclass
class ByDataclass:
    total: int


@pytest.mark.parametrize("kind", [ByPydantic, ByMsgspec, ByDataclass])
def test_payloads_go_out_and_come_back_as_they_are_registered(service: ServiceProcess, kind: type) -> None:
    namespace = f"types-{uuid4()}"
    with Factwire(service.url, types={f"{namespace}/OrderPlaced": kind}) as log:
        log.publish(namespace, "OrderPlaced", kind(total=5))
        log.publish(namespace, "Other", {"lines": [kind(total=6)], "tags": ("a", "b")})
        placed, other = log.read(Query(namespaces=[namespace]))
    assert placed.payload == kind(total=5)
    assert other.payload == {"lines": [{"total": 6}], "tags": ["a", "b"]}


@pytest.mark.parametrize("kind", [ByPydantic, ByMsgspec, ByDataclass])
def test_a_payload_that_does_not_fit_names_its_fact(service: ServiceProcess, kind: type) -> None:
    namespace = f"types-{uuid4()}"
    with Factwire(service.url, types={f"{namespace}/OrderPlaced": kind}) as log:
        position = log.publish(namespace, "OrderPlaced", {"amount": 5}).position
        with pytest.raises(PayloadInvalid, match=f"position {position}, {namespace}/OrderPlaced") as caught:
            list(log.follow(Query(namespaces=[namespace]), until_caught_up=True))
    assert caught.value.fact.payload == {"amount": 5}


def test_the_payload_of_an_erased_fact_stays_null(service: ServiceProcess) -> None:
    namespace = f"types-{uuid4()}"
    with Factwire(service.url, types={f"{namespace}/OrderPlaced": ByPydantic}) as log:
        log.publish(namespace, "OrderPlaced", None)
        assert [fact.payload for fact in log.read(Query(namespaces=[namespace]))] == [None]
