"""The normal form of facts, their tags, and the digest that tells a retry from a conflict."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.domain.errors import InvalidRequest, LimitExceeded
from factwire.domain.fact import (
    NewFact,
    aggregate_tag,
    find_repeated,
    is_type,
    kind_lists,
    meta_tag,
    new_fact,
    normal_meta,
    posting_lists,
)
from factwire.domain.limits import Limits

ID = "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10"
OTHER_ID = "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b11"
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)


def fact(**changes: Any) -> NewFact:
    parts: dict[str, Any] = {
        "id": ID,
        "namespace": "shop",
        "type": "OrderPlaced",
        "version": 1,
        "aggregate_ids": ["order-1"],
        "meta": {"tenant": "a"},
        "payload": b'{"total": 1.10}',
        "limits": Limits(),
    }
    return new_fact(**parts | changes)


def test_the_document_is_the_json_of_the_fact_from_its_id_on() -> None:
    assert fact(aggregate_ids=["b", "a", "b"], meta={"x": ["2", "1", "2"], "a": ["only"]}).document == (
        b'"id":"0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10","namespace":"shop","type":"OrderPlaced","version":1,'
        b'"aggregate_ids":["a","b"],"meta":{"a":"only","x":["1","2"]},"payload":{"total": 1.10}}'
    )


@given(ids=st.lists(TEXT, max_size=6), values=st.lists(TEXT, min_size=1, max_size=4))
def test_any_text_comes_back_from_the_document(ids: list[str], values: list[str]) -> None:
    document = json.loads(b"{" + fact(aggregate_ids=ids, meta={"key": values}).document)
    unique = sorted(set(values))
    assert document["aggregate_ids"] == sorted(set(ids))
    assert document["meta"]["key"] == (unique[0] if len(unique) == 1 else unique)


@pytest.mark.parametrize(
    "equal",
    [
        {"aggregate_ids": ["order-1", "order-1"]},
        {"meta": {"tenant": ["a"]}},
        {"meta": {"tenant": ["a", "a"]}},
        {"id": OTHER_ID},
    ],
)
def test_the_digest_is_that_of_the_normal_form_without_the_id(equal: dict[str, Any]) -> None:
    assert fact(**equal).digest == fact().digest


@pytest.mark.parametrize(
    "other",
    [
        {"namespace": "shop2"},
        {"type": "OrderPaid"},
        {"version": 2},
        {"aggregate_ids": []},
        {"aggregate_ids": ["order-1", "order-2"]},
        {"meta": {}},
        {"meta": {"tenant": "b"}},
        {"payload": b'{"total": 1.1}'},
        {"payload": b'{"total":1.10}'},
    ],
)
def test_the_digest_differs_where_the_content_does(other: dict[str, Any]) -> None:
    assert fact(**other).digest != fact().digest


@pytest.mark.parametrize("payload", [b'{"a":1.10,"a":1e400}', b'"\\u0000\\ud800"', b"[0.0, -0, 1E+2]", b"null"])
def test_a_payload_is_kept_byte_by_byte(payload: bytes) -> None:
    assert fact(payload=payload).document.endswith(b'"payload":' + payload + b"}")


def test_line_breaks_between_tokens_become_spaces() -> None:
    assert fact(payload=b'{\r\n"a":\n1}').document.endswith(b'"payload":{  "a": 1}}')


def test_line_breaks_between_tokens_are_no_other_content_than_spaces() -> None:
    assert fact(payload=b"[1,\n2]").digest == fact(payload=b"[1, 2]").digest


def test_tags_are_one_for_each_aggregate_id_and_each_meta_pair() -> None:
    assert fact(aggregate_ids=["b", "a"], meta={"m": ["2", "1"], "k": "v"}).tags == (
        "a:a",
        "a:b",
        "m:k:v",
        "m:m:1",
        "m:m:2",
    )


@given(text=TEXT, key=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,5}", fullmatch=True), value=TEXT)
def test_no_kind_of_tag_imitates_another(text: str, key: str, value: str) -> None:
    tags = (aggregate_tag(text), meta_tag(key, value))
    lists = posting_lists(key, key, tags)
    assert len(set(lists)) == len(lists)
    assert {each[:2] for each in lists} == {"a:", "m:", "t:", "n:", *(["f:"] if "." in key else [])}
    assert not {*lists[:2]} & {*kind_lists(text, text)}


def test_a_fact_stands_in_the_lists_of_its_namespace_and_not_in_those_of_others() -> None:
    assert posting_lists("shop", "Paid", ["a:1"]) == ["a:1\x1dshop", "t:Paid\x1dshop", "t:Paid", "n:shop"]
    assert posting_lists("shop.eu.a", "Paid", []) == ["t:Paid\x1dshop.eu.a", "t:Paid", "n:shop.eu.a", "f:shop"]


def test_a_meta_pair_cannot_be_split_in_two_ways() -> None:
    with pytest.raises(InvalidRequest):
        fact(meta={"a:b": "c"})
    assert fact(meta={"a": "b:c"}).tags[1:] == ("m:a:b:c",)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"namespace": ""}, "/namespace"),
        ({"namespace": "factwire"}, "/namespace"),
        ({"namespace": "a/b"}, "/namespace"),
        ({"namespace": "a\n"}, "/namespace"),
        ({"type": ""}, "/type"),
        ({"type": " a"}, "/type"),
        ({"type": "a\u3000"}, "/type"),
        ({"type": "a\u2028b"}, "/type"),
        ({"type": "a\x1db"}, "/type"),
        ({"type": "a" * 201}, "/type"),
        ({"version": 0}, "/version"),
        ({"version": 2**31}, "/version"),
        ({"aggregate_ids": ["a", "b\x1fc"]}, "/aggregate_ids/1"),
        ({"aggregate_ids": ["\ud800"]}, "/aggregate_ids/0"),
        ({"aggregate_ids": ["\x85"]}, "/aggregate_ids/0"),
        ({"aggregate_ids": ["a" * 257]}, "/aggregate_ids/0"),
        ({"meta": {"a": []}}, "/meta/a"),
        ({"meta": {"a/~": "b"}}, "/meta/a~1~0"),
        ({"meta": {"a": "\x00"}}, "/meta/a"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_pointer(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fact(**changes)
    assert [field.pointer for field in refused.value.members["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("changes", "limit", "maximum"),
    [
        ({"payload": b"1" * 11, "limits": Limits(payload_bytes_max=10)}, "payload_bytes_max", 10),
        ({"aggregate_ids": ["a"] * 33}, "aggregate_ids_max", 32),
        ({"meta": {str(key): "v" for key in range(33)}}, "meta_keys_max", 32),
        ({"meta": {"k": [str(value) for value in range(65)]}}, "meta_values_max", 64),
    ],
)
def test_beyond_a_limit_the_refusal_says_which_and_its_value(changes: dict[str, Any], limit: str, maximum: int) -> None:
    with pytest.raises(LimitExceeded) as refused:
        fact(**changes)
    assert (refused.value.members["limit"], refused.value.members["maximum"]) == (limit, maximum)


def test_the_first_repeated_id_is_found() -> None:
    assert find_repeated([ID, OTHER_ID, ID]) == ID
    assert find_repeated([ID, OTHER_ID]) is None


@pytest.mark.parametrize("type", ["\ufeffA", "A\ufeff", " A", "A\u00a0", "A\u2028B"])
def test_a_type_has_no_blank_at_its_ends_in_any_notion_of_blanks(type: str) -> None:
    assert not is_type(type)
    assert is_type(f"A{type.strip()[1:]}B") == ("\u2028" not in type)


def test_values_of_meta_are_counted_before_they_are_compared() -> None:
    with pytest.raises(LimitExceeded):
        normal_meta({"a": ["x"] * 65}, Limits())
    assert normal_meta({"a": ["x"] * 64}, Limits()) == {"a": "x"}
