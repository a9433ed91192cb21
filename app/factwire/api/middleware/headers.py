"""Headers that a request has once: of two, a proxy and this service could each believe another one."""

from starlette.types import Scope

from factwire.domain.errors import MalformedParameter

SINGLE = {b"authorization": "Authorization", b"content-type": "Content-Type", b"last-event-id": "Last-Event-ID"}


def single_headers(scope: Scope) -> None:
    """Guard: refuse such a header twice. Raises MalformedParameter. The server has checked `Host` already."""
    given = [name for name, _ in scope["headers"] if name in SINGLE]
    if len(given) > 1 and len(given) > len(set(given)):
        twice = next(name for name in given if given.count(name) > 1)
        raise MalformedParameter(SINGLE[twice], "expected one header of this name")
