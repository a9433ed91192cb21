"""Histories to judge: how they are built, and changed, for the tests of the checker."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tests.faults.history import Call, Condition, Entry, Event, Follow, Outcome, Publish, Read, Request, Seen, Sent

History = list[Entry]
Mutation = Callable[[History], None]


class Writer:
    """Builds the history of a log: what is published takes the next positions, one moment after the other."""

    def __init__(self) -> None:
        self.history: History = []
        self.log: list[Seen] = []
        self.at = 0.0

    def moment(self) -> float:
        self.at += 1.0
        return self.at

    def publish(self, process: str, *ids: str, type: str = "OrderPlaced", condition: Condition | None = None) -> None:
        """An acknowledged publish."""
        sent = [sent_of(id, type, condition) for id in ids]
        positions = self.write(sent)
        self.call(
            process, Publish(sent, condition), Outcome(201, positions=positions, published_at=self.log[-1].published_at)
        )

    def write(self, sent: Sequence[Sent]) -> tuple[int, ...]:
        first = len(self.log) + 1
        time = f"2026-11-23T10:00:{first:02}.000000Z"
        for position, fact in enumerate(sent, first):
            self.log.append(
                Seen(position, fact.id, fact.type, fact.aggregate_ids, fact.content, f"line of {fact.id}", time)
            )
        return tuple(range(first, len(self.log) + 1))

    def call(self, process: str, request: Request, outcome: Outcome) -> None:
        self.history.append(Call(process, self.moment(), self.moment(), request, outcome))

    def page(self, after: int, until: int, *, descending: bool = False) -> None:
        facts = self.log[after:until]
        through, shown = (after, facts[::-1]) if descending else (until, facts)
        request = Read(after, 10, descending=descending)
        self.call("reader", request, Outcome(200, through=through, head=len(self.log), facts=shown))

    def export(self, process: str) -> None:
        head = len(self.log)
        self.call(process, Read(0), Outcome(200, through=head, head=head, facts=list(self.log)))

    def follow(self, process: str, connection: int, after: int, until: int, *, end: str = "cut") -> None:
        self.call(process, Follow(connection, f"1:{after}"), Outcome(200))
        for fact in self.log[after:until]:
            self.history.append(Event(process, self.moment(), connection, "message", f"1:{fact.position}", fact))
        self.history.append(Event(process, self.moment(), connection, end))


def sent_of(id: str, type: str = "OrderPlaced", condition: Condition | None = None) -> Sent:
    return Sent(id, type, (condition.aggregate_id if condition else "order-1",), f"content of {id}")


def change(history: History, index: int, **members: Any) -> None:
    history[index] = msgspec.structs.replace(history[index], **members)


def change_outcome(history: History, index: int, **members: Any) -> None:
    call = history[index]
    assert isinstance(call, Call)
    change(history, index, outcome=msgspec.structs.replace(call.outcome, **members))


def published(history: History, id: str, nth: int = 0) -> int:
    """The place of the nth attempt to publish a fact."""
    return [
        index
        for index, entry in enumerate(history)
        if isinstance(entry, Call) and isinstance(entry.request, Publish) and entry.request.facts[0].id == id
    ][nth]


def received(history: History, process: str, position: int) -> int:
    return next(
        index
        for index, entry in enumerate(history)
        if isinstance(entry, Event) and entry.process == process and entry.fact and entry.fact.position == position
    )


def reading(history: History, process: str, nth: int = 0) -> int:
    return [index for index, entry in enumerate(history) if isinstance(entry, Call) and entry.process == process][nth]


def fact_of(history: History, index: int) -> Seen:
    event = history[index]
    assert isinstance(event, Event)
    assert event.fact
    return event.fact


def facts_of(history: History, index: int) -> list[Seen]:
    call = history[index]
    assert isinstance(call, Call)
    return list(call.outcome.facts)


def stored(history: History, edit: Callable[[list[Seen]], list[Seen]]) -> None:
    """Edit what the log has at the end."""
    change_outcome(history, len(history) - 1, facts=edit(facts_of(history, len(history) - 1)))
