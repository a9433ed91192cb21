"""What followers received: no gap, no repeat, resumed exactly where the stream before had ended."""

from collections.abc import Iterator

from tests.faults.checks.past import Connection, Past, Violation
from tests.faults.checks.reading import selected
from tests.faults.history import Event


def streams_are_exact(past: Past) -> Iterator[Violation]:
    """Between the cursor a stream began with and the last one it got stands each matching fact once, in order."""
    for connection in _connections(past):
        after = position_of(connection.request.after)
        got = [event.fact.position for event in connection.events if event.fact]
        until = last_position(connection)
        if past.loss and until > past.loss.forked_after and connection.start < past.loss.at:
            expected = [position for position in range(after + 1, until + 1)]
            if connection.request.type is not None:
                continue  # what a filter passed over is not known any more
        else:
            expected = list(selected(past, connection.request.type, after=after, until=until))
        if got != expected:
            yield Violation("streams are exact", f"{_named(connection)}: {_difference(got, expected)}")


def cursors_stand_behind_their_events(past: Past) -> Iterator[Violation]:
    for connection in _connections(past):
        reached = position_of(connection.request.after)
        for event in (event for event in connection.events if event.cursor):
            position = position_of(event.cursor)
            if position < reached or (event.fact and event.fact.position != position):
                text = f"{_named(connection)}: {event.name} has the cursor {event.cursor}"
                yield Violation("cursors stand behind their events", text)
            reached = position


def streams_resume_exactly(past: Past) -> Iterator[Violation]:
    """A follower goes on with the last cursor that it got, and gets nothing twice by it."""
    for process, connections in past.connections.items():
        cursor = connections[0].request.after
        for connection in connections:
            if connection.request.after != cursor:
                text = f"{process} went on from {connection.request.after} and not from {cursor}"
                yield Violation("streams resume exactly", text)
            cursor = next((event.cursor for event in reversed(connection.events) if event.cursor), cursor)


def followers_miss_nothing(past: Past) -> Iterator[Violation]:
    """Whoever still follows at the end has come to the end of the log."""
    head = max(past.log, default=0)
    for process, connections in past.connections.items():
        refused = connections[-1].outcome.problem in {"cursor-forked", "cursor-ahead"}
        reached = max(last_position(connection) for connection in connections)
        if reached != head and not (refused and past.loss):
            yield Violation("followers miss nothing", f"{process} came to {reached}, the log to {head}")


def problems_are_expected(past: Past) -> Iterator[Violation]:
    """A stream is ended with a problem only where the database was away, or history was lost."""
    allowed = {"unavailable"} | ({"history-forked", "cursor-ahead"} if past.loss else set())
    for connection in _connections(past):
        for event in connection.events:
            if event.problem and event.problem not in allowed:
                yield Violation("problems are expected", f"{_named(connection)}: {event.problem}")


def loss_is_told(past: Past) -> Iterator[Violation]:
    """Whoever saw a fact that was lost is told so, and gets no fact of the new history in its place."""
    if past.loss is None:
        return
    for process, connections in past.connections.items():
        lost = False
        for event in (event for connection in connections for event in connection.events if event.fact):
            if event.fact and past.is_lost(event.fact):
                lost = True
            elif lost:
                yield Violation("loss is told", f"{process} got {event.cursor} after a fact that was lost")
                break
        if lost and connections[-1].outcome.problem not in {"cursor-forked", "cursor-ahead"}:
            yield Violation("loss is told", f"{process} was not told that it had seen lost facts")


def position_of(cursor: str) -> int:
    return int(cursor.rpartition(":")[2])


def last_position(connection: Connection) -> int:
    return position_of(last_cursor(connection.events) or connection.request.after)


def last_cursor(events: list[Event]) -> str:
    return next((event.cursor for event in reversed(events) if event.cursor), "")


def _connections(past: Past) -> Iterator[Connection]:
    for connections in past.connections.values():
        yield from connections


def _named(connection: Connection) -> str:
    return f"{connection.process}, connection {connection.request.connection} after {connection.request.after}"


def _difference(got: list[int], expected: list[int]) -> str:
    wrong = next((pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]), None)
    return f"got {wrong[0]} in place of {wrong[1]}" if wrong else f"got {len(got)} facts and not {len(expected)}"
