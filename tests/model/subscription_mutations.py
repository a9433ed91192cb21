"""Mistakes that are easily made in the functions of subscriptions, as replacements of text."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A mistake: in a function of the database, one text is replaced by another."""

    mistake: str
    function: str
    right: str
    wrong: str


MUTATIONS = (
    Mutation(
        "a held fact does not hold back by its other keys",
        "grant_facts",
        "v_blocked := v_blocked || v_own_keys;",
        "",
    ),
    Mutation(
        "held facts are not open",
        "grant_facts",
        "generate_series(u.first_key, u.last_key)",
        "generate_series(1, 0)",
    ),
    Mutation(
        "held facts are all ready",
        "free_held",
        "limit 1) < a.position)",
        "limit 1) < 0)",
    ),
    Mutation(
        "one key of a held fact is looked at",
        "free_held",
        "unnest(a.keys) i",
        "unnest(a.keys[:1]) i",
    ),
    Mutation(
        "what is to come later is ready",
        "free_held",
        "and a.due > p_now",
        "and false",
    ),
    Mutation(
        "claims of a call are blind to each other",
        "grant_facts",
        "or v_own_keys && v_others",
        "",
    ),
    Mutation(
        "the cursor moves to the end of the candidates",
        "grant_facts",
        "if v_place > v_count then",
        "if true then",
    ),
    Mutation(
        "candidates that others have passed",
        "grant_facts",
        "p_positions[v_place] <= reached",
        "false",
    ),
    Mutation(
        "candidates from further on",
        "grant_facts",
        "if p_after > reached then",
        "if false then",
    ),
    Mutation(
        "what must come alone comes with others",
        "grant_facts",
        "where o.alone)",
        "where false)",
    ),
    Mutation(
        "more than the limit in flight",
        "grant_facts",
        "least(p_claim_limits[v_claim], v_room)",
        "p_claim_limits[v_claim]",
    ),
    Mutation(
        "acknowledged before an earlier one",
        "disordered",
        "elsif v_keys && v_staying then",
        "elsif false then",
    ),
    Mutation(
        "acknowledged before an earlier one, through another",
        "disordered",
        "v_staying := v_staying || v_keys;\n      v_found",
        "v_found",
    ),
    Mutation(
        "later facts stay out",
        "returning_with",
        "or v_keys && v_going",
        "",
    ),
    Mutation(
        "later facts stay out, through another",
        "returning_with",
        "v_going := v_going || v_keys;",
        "v_going := v_going || case when p_lease.positions[v_place] = any (p_positions) then v_keys end;",
    ),
    Mutation(
        "a replayed fact is ready",
        "resolve_parked",
        "set state = 'held',",
        "set state = 'ready', turn = v_cursor.turn + 1,",
    ),
    Mutation(
        "a discarded fact stays open",
        "resolve_parked",
        "perform factwire.drop_open_keys(",
        "perform num_nulls(",
    ),
    Mutation(
        "places are not shifted",
        "cut_lease",
        "sum(f.kept) over (order by f.n rows unbounded preceding)",
        "f.n",
    ),
    Mutation(
        "freed keys are not looked at",
        "claim_facts",
        "v_acknowledged.keys, '{}'",
        "'{}', '{}'",
    ),
    Mutation(
        "settled keys are not looked at",
        "release_settled",
        "if p_cursor.aside > 0",
        "if false",
    ),
    Mutation(
        "settled keys stay open",
        "release_settled",
        "perform factwire.drop_open_keys(",
        "perform num_nulls(",
    ),
    Mutation(
        "a late acknowledgement passes for a repetition",
        "note_lost",
        "l.positions || excluded.positions",
        "l.positions",
    ),
    Mutation(
        "a reset leaves leases",
        "reset_subscription",
        "delete from factwire.subscription_leases l where",
        "delete from factwire.subscription_leases l where false and",
    ),
    Mutation(
        "an append acknowledges too early",
        "refuse_effects",
        "(factwire.disordered(v_lease, v_effect.positions))[1]",
        "null",
    ),
    Mutation(
        "an append acknowledges what is not in the lease",
        "refuse_effects",
        "elsif not v_lease.positions @> v_effect.positions then",
        "elsif false then",
    ),
)
