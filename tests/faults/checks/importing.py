"""What importers were told agrees with what is stored: the order of a file, each line once, nothing after a failure."""

from collections.abc import Iterator

from tests.faults.checks.past import Importation, Past, Violation
from tests.faults.checks.publishing import named
from tests.faults.history import Call, Sent


def files_keep_their_order(past: Past) -> Iterator[Violation]:
    """The log has the first lines of a file, in the order of the file, and nothing after one that is missing."""
    for importation in past.imports.values():
        places = past.places(importation.facts)
        stored = [place for place in places if place is not None]
        if stored != sorted(stored):
            yield Violation("files keep their order", f"{_name_of(importation)} is stored at {stored}")
        if None in places[: len(stored)]:
            missing = places.index(None) + 1
            yield Violation("files keep their order", f"{_name_of(importation)} has no line {missing}, and later ones")


def progress_is_stored(past: Past) -> Iterator[Violation]:
    """The lines that an answer reports are stored, the last of them where it says; a result reports all of them."""
    for importation in past.imports.values():
        places = past.places(importation.facts)
        for call in importation.attempts:
            told = call.outcome.imported
            if told is None or past.lost_progress(call):
                continue
            stored = [place for place in places[: told.lines] if place is not None]
            if len(stored) < told.lines or max(stored, default=0) != told.position:
                text = f"{told.lines} lines up to {told.position} are not all there"
                yield Violation("progress is stored", f"{named(call)}: {text}")
            complete = call.outcome.status != 200 or told.lines == len(importation.facts)
            if told.published + told.replayed != told.lines or not complete:
                yield Violation("progress is stored", f"{named(call)}: the counts {told} do not fit the file")


def failing_lines_end_imports(past: Past) -> Iterator[Violation]:
    """An attempt that names a line that failed, for a known reason, has stored neither that line nor a later one."""
    known_at: dict[str, float] = {}
    for _, at, fact in past.sightings():
        known_at[fact.id] = min(at, known_at.get(fact.id, at))
    for importation in past.imports.values():
        possible = 0
        for number, call in enumerate(importation.attempts):
            told = call.outcome.imported
            if told and told.replayed > possible:
                text = f"{told.replayed} lines were known, and at most {possible} can have been stored before"
                yield Violation("failing lines end imports", f"{named(call)}: {text}")
            possible = max(possible, _lines_possible(call, importation.facts))
            is_last = number + 1 == len(importation.attempts)
            until = float("inf") if is_last else importation.attempts[number + 1].start
            early = [fact.id for fact in importation.facts[possible:] if known_at.get(fact.id, until) < until]
            repeated = {fact.id for fact in importation.facts[:possible]}
            if any(id not in repeated for id in early):
                text = f"{early[0]} after line {possible} was seen, and nobody can have stored it"
                yield Violation("failing lines end imports", f"{named(call)}: {text}")


def _lines_possible(call: Call, facts: list[Sent]) -> int:
    """How many lines an attempt can have stored: those that it reports, or all of them where it is not certain."""
    told = call.outcome.imported
    if told is not None and told.failing_line and call.outcome.certainly_nothing:
        return told.failing_line - 1
    return 0 if call.outcome.certainly_nothing else len(facts)


def lines_are_published_once(past: Past) -> Iterator[Violation]:
    """No two attempts report that they published the same line. Lines that were lost are published again."""
    for importation in past.imports.values() if past.loss is None else ():
        published = sum(call.outcome.imported.published for call in importation.attempts if call.outcome.imported)
        stored = sum(place is not None for place in past.places(importation.facts))
        if published > stored:
            text = f"{_name_of(importation)}: {stored} lines are stored, and {published} were reported as published"
            yield Violation("lines are published once", text)


def bad_lines_are_named(past: Past) -> Iterator[Violation]:
    """A conflict is reported at the first line that repeats the id of an earlier one, and at no other."""
    for importation in past.imports.values():
        bad = _bad_line(importation.facts)
        for call in importation.attempts:
            told = call.outcome.imported
            if call.outcome.problem == "fact-id-conflict" and (told is None or told.failing_line != bad):
                line = told and told.failing_line
                yield Violation("bad lines are named", f"{named(call)}: line {line} failed in place of {bad}")
            if call.outcome.status == 200 and bad:
                yield Violation("bad lines are named", f"{named(call)}: line {bad} has an id with other content")


def _bad_line(facts: list[Sent]) -> int:
    contents: dict[str, str] = {}
    for line, fact in enumerate(facts, 1):
        if contents.setdefault(fact.id, fact.content) != fact.content:
            return line
    return 0


def _name_of(importation: Importation) -> str:
    return f"the file of {importation.attempts[0].process} that begins with {importation.facts[0].id}"
