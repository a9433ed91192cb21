"""Grants: patterns, what excludes what, and who has at least what somebody else has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.domain.grants import EVERYTHING, Grants, NamespaceSet, form_of, grants_from, new_namespace_set

NAMES = ["a", "a.b", "a.b.c", "a.bc", "ab", "b", "b.a", "factwire", "factwire.x"]
PATTERNS = ["*", *NAMES, *(f"{name}.*" for name in NAMES)]

patterns = st.lists(st.sampled_from(PATTERNS), max_size=4)
namespaces = st.builds(new_namespace_set, patterns, patterns)
grants = st.builds(Grants, publish=namespaces, read=namespaces, manage=namespaces)


@pytest.mark.parametrize(
    ("include", "exclude", "inside", "outside"),
    [
        (["loans"], [], ["loans"], ["loans.a", "loan", "loanss", "Loans", ""]),
        (["loans.*"], [], ["loans.a", "loans.a.b"], ["loans", "loansx", "loan.s"]),
        (["*"], [], ["loans", "x.y"], []),
        (["*"], ["loans.*"], ["loans", "x"], ["loans.a"]),
        (["loans", "loans.*"], ["loans.a"], ["loans", "loans.ab"], ["loans.a"]),
        (["loans"], ["*"], [], ["loans"]),
        ([], [], [], ["loans", ""]),
        ([], ["x"], [], ["loans", "x"]),
    ],
)
def test_what_is_excluded_stays_out_whatever_includes_it(
    include: list[str], exclude: list[str], inside: list[str], outside: list[str]
) -> None:
    granted = new_namespace_set(include, exclude)
    assert [name for name in inside + outside if name in granted] == inside


@pytest.mark.parametrize("text", ["", ".*", "*.*", "a*", "*.a", "a.*.*", "a b", "a/*", "ä", "a\n", "**", ".a"])
def test_a_text_that_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a namespace"):
        new_namespace_set([text])
    with pytest.raises(ValueError, match="is neither a namespace"):
        new_namespace_set(["*"], [text])


@given(more=namespaces, less=namespaces)
def test_who_covers_another_has_every_namespace_of_the_other(more: NamespaceSet, less: NamespaceSet) -> None:
    if more.cover(less):
        assert all(name in more for name in NAMES if name in less)


@given(granted=namespaces)
def test_everybody_covers_himself_and_nothing(granted: NamespaceSet) -> None:
    assert granted.cover(granted)
    assert granted.cover(NamespaceSet())
    assert EVERYTHING.read.cover(granted)


@given(granted=namespaces, excluded=patterns)
def test_less_than_one_has_can_be_given(granted: NamespaceSet, excluded: list[str]) -> None:
    assert granted.cover(new_namespace_set(granted.include, [*granted.exclude, *excluded]))


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ((["loans"], []), (["loans.*"], [])),
        ((["loans.*"], []), (["loans"], [])),
        ((["loans.*"], []), (["*"], [])),
        ((["*"], ["loans"]), (["*"], [])),
        ((["*"], ["loans.*"]), (["loans.a"], [])),
        ((["*"], ["loans.a"]), (["loans.*"], [])),
        ((["*"], ["loans.*"]), (["*"], ["loans.a"])),
        (([], []), (["a"], [])),
    ],
)
def test_more_than_one_has_cannot_be_given(
    more: tuple[list[str], list[str]], less: tuple[list[str], list[str]]
) -> None:
    assert not new_namespace_set(*more).cover(new_namespace_set(*less))


@given(granted=grants)
def test_the_audit_is_for_those_who_manage_it_or_name_it(granted: Grants) -> None:
    named = "factwire" in granted.read.include
    kept_out = "factwire" not in NamespaceSet(("*",), granted.read.exclude)
    assert ("factwire" in granted.readable) == (("factwire" in granted.manage or named) and not kept_out)
    for name in NAMES:
        if name != "factwire":
            assert (name in granted.readable) == (name in granted.read)


def test_who_may_do_everything_reads_without_a_restriction() -> None:
    assert EVERYTHING.readable.are_all
    assert not Grants(read=new_namespace_set(["*"])).readable.are_all
    assert Grants(manage=new_namespace_set(["*"])).readable.include == ("factwire",)


@given(granted=grants)
def test_grants_come_back_from_their_form(granted: Grants) -> None:
    again = grants_from(form_of(granted))
    assert again == granted
