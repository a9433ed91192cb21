"""Encoding of the arguments of append. Lists are sent as text and split by the server.

asyncpg checks the type of array elements one by one, which costs more than everything else that is done with them. No
name, id or value contains U+001F or U+001E.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import accumulate, repeat

from factwire.domain.condition import Condition, Precondition, Searched
from factwire.domain.effect import Acknowledgement, Effect, HeldLease, RecordedExpiry
from factwire.domain.fact import IN, NewFact, kind_lists, posting_lists
from factwire.domain.position import Position
from factwire.store.query_arguments import SEPARATOR, precondition_texts

NO_SEALS = ("", "{}", b"", "{}", "{}")
NO_NEW_KEYS = (None, "{}", None, None)
NO_CONDITIONS = ("{}", "{}", "{}", "{}", "", "", "")


def array_text(values: Iterable[object]) -> str:
    """Array literal of PostgreSQL, for values that need no quotes."""
    return f"{{{','.join(map(str, values))}}}"


def fact_texts(facts: Sequence[NewFact]) -> tuple[str, str, str, str, bytes, bytes, str, str]:
    """Ids, namespaces, types, versions, digests, documents; the place (from 1) and length in bytes of each document."""
    lengths = [len(fact.document) for fact in facts]
    return (
        f"{{{','.join([fact.id for fact in facts])}}}",
        SEPARATOR.join([fact.namespace for fact in facts]),
        SEPARATOR.join([fact.type for fact in facts]),
        array_text([fact.version for fact in facts]),
        b"".join([fact.digest for fact in facts]),
        b"".join([fact.document for fact in facts]),
        array_text(accumulate(lengths[:-1], initial=1)),
        array_text(lengths),
    )


def single_fact_texts(fact: NewFact) -> tuple[str | bytes, ...]:
    """Texts of one fact, of its posting lists and its kind: those of `fact_texts`, `posting_texts` and `kind_texts`."""
    version = f"{{{fact.version}}}"
    lists = posting_lists(fact.namespace, fact.type, fact.tags)
    return (
        f"{{{fact.id}}}",
        fact.namespace,
        fact.type,
        version,
        fact.digest,
        fact.document,
        "{1}",
        f"{{{len(fact.document)}}}",
        SEPARATOR.join(lists),
        f"{{{','.join('1' * len(lists))}}}",
        SEPARATOR * (len(lists) - 1),
        fact.namespace,
        fact.type,
        version,
    )


def kind_texts(facts: Sequence[NewFact]) -> tuple[str, str, str]:
    """Namespaces, types and versions of the kinds of facts."""
    kinds = {(fact.namespace, fact.type, fact.version) for fact in facts}
    namespaces, types, versions = zip(*kinds, strict=True)
    return SEPARATOR.join(namespaces), SEPARATOR.join(types), array_text(versions)


def posting_texts(facts: Sequence[NewFact]) -> tuple[str, str, str]:
    """Posting lists of a call: their keys, the last place in each, and the distances of the others before it.

    See next_postings in alembic/sql.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    kinds: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # facts of one kind share several lists
    for place, fact in enumerate(facts, 1):
        suffix = IN + fact.namespace
        for tag in fact.tags:
            places[tag + suffix].append(place)
        kinds[fact.namespace, fact.type].append(place)
    for kind, of_kind in kinds.items():
        for key in kind_lists(*kind):
            places[key] += of_kind
    earlier = []
    for given in places.values():
        given.sort()  # a list may have places of several kinds
        earlier.append(array_text([given[-1] - place for place in given[:-1]]) if len(given) > 1 else "")
    return SEPARATOR.join(places), array_text([given[-1] for given in places.values()]), SEPARATOR.join(earlier)


def seal_texts(facts: Sequence[NewFact]) -> tuple[str, str, bytes, str, str]:
    """Data subject and key of each fact, all seals concatenated, and the offset and length of each fact's seal."""
    # An unsealed payload of a data subject must not reach the database.
    assert all(bool(fact.data_subject) == bool(fact.seal) for fact in facts)
    lengths = [len(fact.seal) for fact in facts]
    return (
        SEPARATOR.join([fact.data_subject for fact in facts]),
        array_text(fact.key_id or "null" for fact in facts),
        b"".join([fact.seal for fact in facts]),
        array_text(accumulate(lengths[:-1], initial=1)),
        array_text(lengths),
    )


def new_key_arrays(facts: Sequence[NewFact]) -> tuple[list[str], str, list[bytes], list[str]]:
    """New keys, stored with their first facts: data subject, id, the wrapped data key, its master key."""
    new = {fact.key_id: (fact.data_subject, *fact.new_key) for fact in facts if fact.new_key}
    data_subjects, wrapped, masters = zip(*new.values(), strict=True)
    return list(data_subjects), array_text(new), list(wrapped), list(masters)


def condition_texts(
    requests: Sequence[tuple[Sequence[NewFact], Condition | None]],
) -> tuple[str, str, str, str, str, str, str]:
    """Preconditions: request, epoch, position to search after, id of the fact there if searched before, and parts."""
    conditions = [(index, condition) for index, (_, condition) in enumerate(requests) if condition is not None]
    if not conditions:
        return NO_CONDITIONS
    rows = [
        (index, *_after(precondition, searched), *precondition_texts(precondition, searched))
        for index, condition in conditions
        for precondition, searched in zip(
            condition.preconditions, condition.searched or repeat(None), strict=bool(condition.searched)
        )
    ]
    indexes, epochs, afters, ids, *texts = zip(*rows, strict=True)
    # A part may be empty, and a list of one empty text would be read as an empty list: hence the separator before each.
    namespaces, types, tags = ("".join([f"\x1e{text}" for text in part]) for part in texts)
    return array_text(indexes), array_text(epochs), array_text(afters), array_text(ids), namespaces, types, tags


def _after(precondition: Precondition, searched: Searched | None) -> tuple[int, Position, str]:
    if searched is None:
        return precondition.cursor.epoch, precondition.cursor.position, "null"
    return searched.epoch, searched.position, searched.id or "null"


def effects_text(effects: Sequence[Sequence[Effect]]) -> str:
    """Effects of all requests as JSON: an object for each, with the index of its request."""
    return json.dumps([effect_json(index, effect) for index, each in enumerate(effects) for effect in each])


def effect_json(request: int, effect: Effect) -> dict[str, object]:
    """One effect as alembic/sql/refuse_effects_v2.sql reads it."""
    match effect:
        case HeldLease():
            return {"request": request, "kind": "lease", **asdict(effect)}
        case RecordedExpiry():
            return {"request": request, "kind": "expiry", **asdict(effect)}
        case Acknowledgement():
            return {"request": request, "kind": "acknowledgement", **asdict(effect)}
