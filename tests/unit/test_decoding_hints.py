"""Refused bodies are explained in plain words, with a hint for what beginners send."""

import pytest

from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import NewFactLine, PublishBody, QueryBody
from factwire.domain.errors import InvalidRequest

FACT = '"namespace":"shop","type":"OrderPlaced","payload":1'


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (f"{{{FACT}}}", "/namespace", 'put a fact into {"facts": [ … ]}'),
        (f'{{"facts":[{{{FACT},"aggregateIds":["a"]}}]}}', "/facts/0/aggregateIds", "did you mean aggregate_ids?"),
        (
            f'{{"facts":[{{{FACT},"aggregate_id":"a"}}]}}',
            "/facts/0/aggregate_id",
            "did you mean aggregate_ids, a list?",
        ),
        (f'{{"facts":[{{{FACT},"colour":"red"}}]}}', "/facts/0/colour", "known are namespace, type, payload"),
        (f'{{"facts":[{{{FACT},"meta":{{"retries":3}}}}]}}', "/facts/0/meta/retries", 'as in "3"'),
        (f'{{"facts":[{{{FACT},"meta":{{"a":"x","b":["y",1],"c":2}}}}]}}', "/facts/0/meta/b", 'as in "3"'),
        (f'{{"facts":[{{{FACT},"meta":{{"a/b":true}}}}]}}', "/facts/0/meta/a~1b", 'as in "3"'),
        (f'{{"facts":[{{{FACT},"meta":{{"a":1}},"meta":"x"}}]}}', "/facts/0/meta", 'as in "3"'),
        (f'{{"facts":[{{{FACT},"meta":{{"a":1}}}}],"facts":5}}', "/facts/0/meta", 'as in "3"'),
        (f'{{"facts":[{{{FACT},"meta":{{"a":1}}}}],"facts":[]}}', "/facts/0/meta", 'as in "3"'),
        (f'{{"facts":{{{FACT}}}}}', "/facts", "expected a list, not an object: write it in brackets, as in [ … ]"),
        (f'{{"facts":[{{{FACT},"aggregate_ids":"a"}}]}}', "/facts/0/aggregate_ids", "as in [ … ]"),
        (f'{{"facts":[{{{FACT},"data":1}}]}}', "/facts/0/data", "did you mean payload?"),
        (f'{{"facts":[{{{FACT},"streamName":"s"}}]}}', "/facts/0/streamName", "did you mean aggregate_ids, a list?"),
        (f'{{"facts":[{{{FACT},"condition":{{}}}}]}}', "/facts/0/condition", "condition is a member of the whole body"),
        ('{"facts":[],"fail_if_match":[]}', "/fail_if_match", 'put it into {"condition": { … }}'),
        ('{"facts":[],"expectedVersion":1}', "/expectedVersion", "did you mean condition?"),
        ('{"events":[]}', "/events", "did you mean facts, a list?"),
        (f"[{{{FACT}}}]", "", 'expected an object, not a list: put a fact into {"facts": [ … ]}'),
        ('{"facts":[{"type":"A","payload":1}]}', "/facts/0", "the member namespace is missing"),
        (
            '{"facts":[],"condition":{"fail_if_match":[{"type":"A"}]}}',
            "/condition/fail_if_match/0/type",
            "types, a list?",
        ),
        ('{"facts":[],"condition":{"failIfMatch":[]}}', "/condition/failIfMatch", "did you mean fail_if_match?"),
        ("[]", "", "expected an object, not a list"),
    ],
)
def test_a_publish_that_does_not_fit_is_explained(body: str, pointer: str, said: str) -> None:
    assert_explained(Decoder(PublishBody), body, pointer, said)


def test_queries_and_lines_of_an_import_are_explained_as_well() -> None:
    assert_explained(
        Decoder(QueryBody), '{"items":[{"namespace":["a"]}]}', "/items/0/namespace", "did you mean namespaces, a list?"
    )
    assert_explained(Decoder(QueryBody), '{"types":["A"]}', "/types", 'put an item into {"items": [ … ]}')
    assert_explained(Decoder(QueryBody), '{"limit":1}', "/limit", "limit is a parameter of the URL")
    assert_explained(Decoder(NewFactLine), f'{{{FACT},"aggregateIds":[]}}', "/aggregateIds", "aggregate_ids?")


def assert_explained(decoder: Decoder[object], body: str, pointer: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decoder.decode(body.encode())
    [error] = refused.value.members["errors"]
    assert error.pointer == pointer
    assert said in error.detail
    assert "`" not in error.detail
