"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): makes a publish without ids safe to repeat."""

import re
from collections.abc import Sequence

from starlette.requests import Request

from factwire.api.http.authorization import principal_of
from factwire.api.http.context import context_of
from factwire.api.http.models import NewFactBody
from factwire.domain.errors import FieldError, InvalidRequest, MalformedParameter
from factwire.domain.idempotency import KeyedIds, keyed_ids
from factwire.store.log import read_idempotency_secret

NAME = "Idempotency-Key"
BARE = re.compile(r"[\x21-\x7e]{1,255}")
QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\[\\"]){1,255})"')  # RFC 8941, section 3.3.3


def idempotency_key_of(request: Request) -> str | None:
    """The key, with or without quotation marks around it. Raises MalformedParameter."""
    given = request.headers.getlist(NAME)
    if not given:
        return None
    if len(given) > 1:
        raise MalformedParameter(NAME, "expected one header of this name")
    if quoted := QUOTED.fullmatch(given[0]):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if BARE.fullmatch(given[0]) and not given[0].startswith('"'):
        return given[0]
    raise MalformedParameter(NAME, "expected 1 to 255 visible characters, or a quoted text of them")


def refuse_idempotency_key(request: Request, why: str) -> None:
    """Refuse the header on a request in which it has no effect. Raises InvalidRequest."""
    if idempotency_key_of(request) is not None:
        raise InvalidRequest([FieldError(why, parameter=NAME)])


async def give_ids(request: Request, facts: Sequence[NewFactBody], key: str) -> KeyedIds:
    """Give the facts the ids of a key. Raises InvalidRequest for a fact with an id of its own."""
    chosen = [index for index, fact in enumerate(facts) if isinstance(fact.id, str)]
    if chosen:
        detail = f"a fact has no id beside {NAME}, which gives it one"
        raise InvalidRequest([FieldError(detail, pointer=f"/facts/{chosen[0]}/id")])
    async with context_of(request).pools.read() as connection:
        secret = await read_idempotency_secret(connection)
    keyed = keyed_ids(secret, principal=principal_of(request).name, key=key, count=len(facts))
    for fact, id in zip(facts, keyed.ids, strict=True):
        fact.id = id
    return keyed
