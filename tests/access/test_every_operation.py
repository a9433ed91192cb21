"""Every operation of the OpenAPI document, asked by strangers: one without a rule, or without a thought, fails."""

from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from tests.access.conftest import Guarded
from tests.access.document import RULE, Call, Operation, Things, calls_of, operations
from tests.access.keys import bearer

GUARDED = [operation for operation in operations() if operation.described.get(RULE) != "open"]
READS = [operation for operation in operations() if operation.described.get(RULE) == "read"]
CHANGING = {"publish", "manage", "manage-facts", "subscribe"}
CHANGES = [operation for operation in operations() if operation.described.get(RULE) in CHANGING]
EVENT_STREAM = "text/event-stream"

each_operation = pytest.mark.parametrize("operation", operations(), ids=str)
each_guarded = pytest.mark.parametrize("operation", GUARDED, ids=str)
each_read = pytest.mark.parametrize("operation", READS, ids=str)
each_change = pytest.mark.parametrize("operation", CHANGES, ids=str)


async def ask(client: httpx.AsyncClient, call: Call, secret: str | None) -> httpx.Response:
    """The whole answer; of a stream what comes until it has caught up."""
    headers = dict(call.headers) | ({} if secret is None else bearer(secret))
    if call.content is not None:
        headers["content-type"] = call.media_type
    request = client.build_request(
        call.method,
        call.path,
        params=call.parameters or None,
        headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        content=call.content,
    )
    response = await client.send(request, stream=True)
    body = b""
    try:
        if response.headers["content-type"].startswith(EVENT_STREAM):
            async for chunk in response.aiter_bytes():
                body += chunk
                if b"event: caught-up" in body:
                    break
        else:
            body = await response.aread()
    finally:
        await response.aclose()
    headers_told = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return httpx.Response(response.status_code, headers=headers_told, content=body)


@each_operation
def test_an_operation_says_who_may_ask_for_it(operation: Operation) -> None:
    assert operation.described.get(RULE) in {"open", "read", *CHANGING}
    assert (operation.rule == "open") == (operation.described["security"] == [])
    assert ("401" in operation.described["responses"]) == (operation.rule != "open")
    refusals = operation.described["responses"].get("403", {"description": ""})["description"]
    assert ("`forbidden`" in refusals) == (operation.rule in CHANGING)


@each_operation
async def test_only_what_is_open_answers_without_credentials(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    for call in calls_of(operation, guarded.theirs.things):
        response = await ask(stranger, call, None)
        if operation.rule == "open":
            assert response.status_code not in {401, 403}
        else:
            assert response.status_code == 401, call
            assert response.headers["www-authenticate"] == "Bearer"


@each_guarded
async def test_credentials_that_are_wrong_are_answered_as_none_are(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    call = next(calls_of(operation, guarded.ours.things))
    none = await ask(stranger, call, None)
    secret = guarded.ours.secret
    for wrong in (secret[:-1], f"{secret}x", secret.replace("fw_", "fw_x"), "fw_", "x", "a.b.c", "é", secret.upper()):
        response = await ask(stranger, call, wrong)
        assert (response.status_code, response.content) == (none.status_code, none.content)
        assert response.headers["www-authenticate"] == none.headers["www-authenticate"]


@each_read
async def test_no_answer_shows_what_belongs_to_others(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    theirs = guarded.theirs.things
    for call in calls_of(operation, theirs):
        for secret in (guarded.ours.secret, guarded.nobody):
            response = await ask(stranger, call, secret)
            assert response.status_code < 500, response.text
            seen = f"{response.text} {response.headers}"
            assert [mark for mark in theirs.marks if mark in seen and mark not in call.text] == [], call
            assert f'"position":{theirs.position},"published_at"' not in seen


@each_read
async def test_what_belongs_to_others_is_answered_as_what_does_not_exist(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    theirs, unknown = guarded.theirs.things, unknown_things()
    for call, other in zip(calls_of(operation, theirs), calls_of(operation, unknown), strict=True):
        if any(value.isdigit() for _, value in (*call.parameters, *call.headers)):
            continue  # a position is no secret, and one that does not exist lies beyond the head
        told = await ask(stranger, call, guarded.ours.secret)
        expected = await ask(stranger, other, guarded.ours.secret)
        assert told.status_code == expected.status_code, call
        if operation.path in {*LENDING, "/v1/activity"} and told.is_success:
            continue  # what is lent is random, and activity tells the time
        assert neutral(told, theirs) == neutral(expected, unknown), call


@each_read
async def test_a_reader_of_everything_finds_what_others_do_not(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    """So that the tests above do not pass because there is nothing to find."""
    theirs = guarded.theirs.things
    answers = [await ask(stranger, call, guarded.reader) for call in calls_of(operation, theirs)]
    assert operation.path in LENDING or all(answer.is_success for answer in answers)
    if operation.path not in {"/v1/position", "/v1/activity", *LENDING}:  # activity is counted a moment later
        assert any(mark in answer.text for answer in answers for mark in theirs.marks)


@each_change
async def test_nothing_is_changed_beyond_the_grants(
    guarded: Guarded, stranger: httpx.AsyncClient, operation: Operation
) -> None:
    theirs = guarded.theirs.things
    for call in calls_of(operation, theirs):
        for secret in (guarded.ours.secret, guarded.reader, guarded.nobody):
            response = await ask(stranger, call, secret)
            assert is_refused(response), response.text
            assert [mark for mark in theirs.marks if mark in response.text and mark not in call.text] == []


LENDING = ("/v1/tickets", "/v1/session")


def is_refused(response: httpx.Response) -> bool:
    """Forbidden by its status, or, in an import that has begun, by its last line."""
    return response.status_code == 403 or (
        response.status_code == 200 and "urn:factwire:problem:forbidden" in response.text.splitlines()[-1]
    )


def unknown_things() -> Things:
    mark = uuid4().hex
    return Things(
        id=str(uuid4()),
        position=10**9,
        namespace=f"team{mark}",
        type=f"Type{mark}",
        aggregate_id=f"aggregate-{mark}",
        tenant=f"tenant-{mark}",
        payload=f"payload-{mark}",
        key_id="no-such-key",
    )


def neutral(response: httpx.Response, things: Things) -> str:
    """An answer without the names that were asked for, nor what differs from one answer to the next."""
    varying = {"x-request-id", "date", "etag", "link", "content-length"}
    headers = {name: value for name, value in response.headers.items() if name not in varying}
    text = f"{response.text} {headers}"
    for name, value in replace(things, position=0).__dict__.items():
        text = text.replace(str(value), name) if value else text
    return text.replace(f"position {things.position}", "position")
