"""From the first notice of a lost history on, nothing is published until the epoch is raised, and then it goes on."""

from collections.abc import Iterator

from tests.faults.checks.past import Past, Violation
from tests.faults.checks.publishing import RAISED, named, places_of, written
from tests.faults.history import Call, Import, Publish

FORKED = "history-forked"


def a_noticed_fork_ends_publishing(past: Past) -> Iterator[Violation]:
    """Once a process has reported the fork, no process publishes: nothing is acknowledged, and nothing is stored."""
    noticed, raised = _noticed_at(past), past.raised.at if past.raised else float("inf")
    for call in past.calls:
        if noticed < call.start and call.end < raised and _acknowledges(call):
            yield Violation(
                "a noticed fork ends publishing", f"{named(call)}: acknowledged, noticed at {noticed:.3f} s"
            )
    beginning = max((position for position, fact in past.log.items() if fact.type == RAISED), default=0)
    for publication in written(past) if past.raised else ():
        place = places_of(past, publication)[0]
        if place and place < beginning and publication.start > noticed:
            text = f"{place} was published before the epoch began at {beginning}, and after {noticed:.3f} s"
            yield Violation("a noticed fork ends publishing", text)


def lost_cursors_never_hold(past: Past) -> Iterator[Violation]:
    """No condition holds whose cursor stands in the lost history, from the notice on and in the new epoch."""
    noticed = _noticed_at(past)
    for call in past.calls if past.loss and past.raised else ():
        condition = call.request.condition if isinstance(call.request, Publish) else None
        if condition is None or past.loss is None or past.raised is None:
            continue
        is_lost = 0 < condition.epoch < past.raised.epoch and condition.after > past.loss.forked_after
        if is_lost and call.start > noticed and call.outcome.status == 201:
            text = f"{named(call)}: the condition after {condition.epoch}:{condition.after} held"
            yield Violation("lost cursors never hold", text)


def publishing_goes_on(past: Past) -> Iterator[Violation]:
    raised = past.raised
    published = (call for call in past.calls if isinstance(call.request, Publish) and call.outcome.status == 201)
    if raised and not any(call.start > raised.until for call in published):
        yield Violation("publishing goes on", f"nothing was published after the epoch was raised at {raised.until} s")


def _noticed_at(past: Past) -> float:
    """When it was first reported that history was replaced."""
    calls = (call.end for call in past.calls if call.outcome.problem == FORKED)
    connections = (connection for of_process in past.connections.values() for connection in of_process)
    events = (event.at for connection in connections for event in connection.events if event.problem == FORKED)
    return min((*calls, *events), default=float("inf"))


def _acknowledges(call: Call) -> bool:
    """Whether an answer says that facts are stored, be they known already."""
    if isinstance(call.request, Import):
        return call.outcome.imported is not None and call.outcome.imported.lines > 0
    return isinstance(call.request, Publish) and call.outcome.acknowledged
