"""The checker: whether a history could have come from a service that keeps its promises."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tests.faults.checks import erasing, following, forking, importing, publishing, reading, working
from tests.faults.checks.past import Past, Violation
from tests.faults.history import Entry

SHOWN_OF_EACH = 3

RULES: tuple[Callable[[Past], Iterator[Violation]], ...] = (
    reading.positions_are_dense,
    reading.ids_are_unique,
    reading.readers_agree,
    reading.time_never_decreases,
    reading.reads_are_exact,
    reading.reads_are_fresh,
    publishing.acknowledged_is_present,
    publishing.refused_is_absent,
    publishing.stored_was_sent,
    publishing.retries_repeat_the_answer,
    publishing.batches_are_whole,
    publishing.order_agrees_with_time,
    publishing.conditions_hold,
    publishing.failed_conditions_have_reasons,
    publishing.answers_are_expected,
    following.streams_are_exact,
    following.cursors_stand_behind_their_events,
    following.streams_resume_exactly,
    following.followers_miss_nothing,
    following.problems_are_expected,
    following.loss_is_told,
    importing.files_keep_their_order,
    importing.progress_is_stored,
    importing.failing_lines_end_imports,
    importing.lines_are_published_once,
    importing.bad_lines_are_named,
    erasing.erased_stays_gone,
    erasing.erased_keys_are_gone,
    erasing.only_what_was_asked_for_is_gone,
    erasing.erasures_are_told_once,
    erasing.what_is_told_is_gone,
    erasing.gone_facts_agree,
    working.acknowledged_facts_are_done,
    working.facts_are_acknowledged_once,
    working.aggregates_are_in_one_pair_of_hands,
    working.aggregates_come_in_order,
    working.every_fact_is_acknowledged,
    forking.a_noticed_fork_ends_publishing,
    forking.lost_cursors_never_hold,
    forking.publishing_goes_on,
)


def check(entries: Iterable[Entry]) -> list[Violation]:
    """The first violations of each rule; none for a good history."""
    return violations(Past(entries))


def violations(past: Past) -> list[Violation]:
    return [violation for rule in RULES for violation in islice(rule(past), SHOWN_OF_EACH)]
