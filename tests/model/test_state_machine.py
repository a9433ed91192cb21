"""The whole HTTP interface against a model in memory: whatever is done in whatever order, both say the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.service import ServiceProcess

TYPES = ["A", "App\\B/c é"]
IDS = ["x", "y", "z"]
TENANTS = ["1", "2"]

NewFact = dict[str, Any]
Item = dict[str, Any]

facts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "aggregate_ids": st.lists(st.sampled_from(IDS), max_size=3),
        "meta": st.dictionaries(
            st.just("tenant"),
            st.one_of(st.sampled_from(TENANTS), st.lists(st.sampled_from(TENANTS), min_size=1, max_size=3)),
        ),
        "payload": st.one_of(st.integers(), st.text(max_size=5), st.none()),
    }
)
items = st.fixed_dictionaries(
    {},
    optional={
        "types": st.lists(st.sampled_from(TYPES), min_size=1, max_size=2),
        "aggregate_ids": st.lists(st.sampled_from(IDS), min_size=1, max_size=2),
        "any_aggregate_id": st.lists(st.sampled_from(IDS), min_size=1, max_size=2),
        "meta": st.dictionaries(st.just("tenant"), st.sampled_from(TENANTS), min_size=1),
    },
)


@dataclass
class Model:
    """The log as a list, and what is refused."""

    facts: list[dict[str, Any]] = field(default_factory=list)

    def by_id(self, fact_id: str) -> dict[str, Any] | None:
        return next((fact for fact in self.facts if fact["id"] == fact_id), None)

    def matching(self, query: list[Item], *, after: int = 0, until: int | None = None) -> list[dict[str, Any]]:
        return [
            fact
            for fact in self.facts
            if fact["position"] > after
            and (until is None or fact["position"] <= until)
            and (not query or any(matches(item, fact) for item in query))
        ]


def normal(fact: NewFact, position: int) -> dict[str, Any]:
    meta = {key: sorted(set(values)) if isinstance(values, list) else [values] for key, values in fact["meta"].items()}
    return fact | {
        "position": position,
        "version": 1,
        "aggregate_ids": sorted(set(fact["aggregate_ids"])),
        "meta": {key: values if len(values) > 1 else values[0] for key, values in meta.items()},
    }


def matches(item: Item, fact: dict[str, Any]) -> bool:
    def values(key: str) -> list[str]:
        value = fact["meta"].get(key, [])
        return value if isinstance(value, list) else [value]

    return (
        fact["type"] in item.get("types", [fact["type"]])
        and fact["namespace"] in item.get("namespaces", [fact["namespace"]])
        and set(item.get("aggregate_ids", [])) <= set(fact["aggregate_ids"])
        and ("any_aggregate_id" not in item or not set(item["any_aggregate_id"]).isdisjoint(fact["aggregate_ids"]))
        and all(value in values(key) for key, value in item.get("meta", {}).items())
    )


# An item of a condition: its query, whether a fact must match, how far behind the head its bound is, and in which form.
bounded = st.tuples(
    items.filter(bool),
    st.booleans(),
    st.integers(0, 6) | st.none(),
    st.sampled_from(["cursor", "position", "text", "id"]),
)


class Log(RuleBasedStateMachine):
    """Each example works in a namespace of its own, behind what earlier ones left in the log."""

    url: ClassVar[str]

    @initialize()
    def begin(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=20, verify=False)
        self.namespace = f"model-{uuid4().hex}"
        self.start: int = self.client.get("/v1/position").json()["position"]
        self.epoch = self.client.get("/v1/position").json()["cursor"].partition(":")[0]
        self.model = Model()

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    @property
    def head(self) -> int:
        return self.model.facts[-1]["position"] if self.model.facts else self.start

    def in_namespace(self, query: list[Item]) -> list[Item]:
        return [item | {"namespaces": [self.namespace]} for item in query or [{}]]

    def accept(self, batch: list[NewFact]) -> None:
        self.model.facts += [normal(fact, self.head + 1 + index) for index, fact in enumerate(batch)]

    def new(self, given: list[NewFact]) -> list[NewFact]:
        return [fact | {"namespace": self.namespace, "id": str(uuid4())} for fact in given]

    @rule(given=st.lists(facts, min_size=1, max_size=4))
    def publish(self, given: list[NewFact]) -> None:
        batch = self.new(given)
        answer = self.client.post("/v1/facts", json={"facts": batch})
        assert answer.status_code == 201, answer.text
        positions = [self.head + 1 + index for index in range(len(batch))]
        assert [fact["position"] for fact in answer.json()["facts"]] == positions
        assert answer.json()["cursor"] == f"{self.epoch}:{positions[-1]}"
        self.accept(batch)

    @rule(given=facts)
    def publish_without_an_id(self, given: NewFact) -> None:
        answer = self.client.post("/v1/facts", json={"facts": [given | {"namespace": self.namespace}]})
        assert answer.status_code == 201, answer.text
        self.accept([given | {"namespace": self.namespace, "id": answer.json()["facts"][0]["id"]}])

    @rule(data=st.data(), change=st.sampled_from(["nothing", "payload", "type", "part"]))
    def publish_again(self, data: st.DataObject, change: str) -> None:
        if not self.model.facts:
            return
        known = data.draw(
            st.lists(st.sampled_from(self.model.facts), min_size=1, max_size=3, unique_by=lambda fact: fact["id"])
        )
        batch = [{key: value for key, value in fact.items() if key != "position"} for fact in known]
        expected = [fact["position"] for fact in known]
        match change:
            case "payload":
                batch[0] = batch[0] | {"payload": "something else"}
            case "type":
                batch[0] = batch[0] | {"type": "Other"}
            case "part":
                batch += self.new([{"type": "A", "aggregate_ids": [], "meta": {}, "payload": 1}])
        answer = self.client.post("/v1/facts", json={"facts": batch})
        if change == "nothing":
            assert answer.status_code == 200, answer.text
            assert [fact["position"] for fact in answer.json()["facts"]] == expected
        else:
            assert (answer.status_code, code(answer)) == (409, "fact-id-conflict")

    @rule(
        given=facts,
        query=st.lists(items.filter(bool), min_size=1, max_size=2),
        back=st.integers(0, 6),
        cursor=st.booleans(),
    )
    def publish_on_a_condition(self, given: NewFact, query: list[Item], back: int, cursor: bool) -> None:
        batch = self.new([given])
        after = max(self.start, self.head - back)
        condition = {
            "fail_if_match": self.in_namespace(query),
            "after": f"{self.epoch}:{after}" if cursor else after,
        }
        answer = self.client.post("/v1/facts", json={"facts": batch, "condition": condition})
        forbidden = self.model.matching(query, after=after)
        if forbidden:
            assert (answer.status_code, code(answer)) == (409, "condition-failed")
            assert answer.json()["id"] in {fact["id"] for fact in forbidden}
        else:
            assert answer.status_code == 201, answer.text
            self.accept(batch)

    @rule(given=facts, preconditions=st.lists(bounded, min_size=1, max_size=3), default=st.integers(0, 6) | st.none())
    def publish_on_preconditions(
        self, given: NewFact, preconditions: list[tuple[Item, bool, int | None, str]], default: int | None
    ) -> None:
        batch = self.new([given])
        condition: dict[str, Any] = {}
        broken: list[str] = []
        after_all = None if default is None else max(self.start, self.head - default)
        for item, must_match, back, form in preconditions:
            name = "fail_unless_match" if must_match else "fail_if_match"
            after = 0 if must_match or after_all is None else after_all
            [body] = self.in_namespace([item])
            if back is not None:
                after = max(self.start, self.head - back)
                body["after"] = self.bound(after, form)
            if bool(self.model.matching([item], after=after)) != must_match:
                broken.append(f"/{name}/{len(condition.get(name, []))}")
            condition.setdefault(name, []).append(body)
        if after_all is not None and "fail_if_match" in condition:
            condition["after"] = after_all
        answer = self.client.post("/v1/facts", json={"facts": batch, "condition": condition})
        if broken:
            self.check_refusal(answer, condition, broken)
        else:
            assert answer.status_code == 201, answer.text
            self.accept(batch)

    def check_refusal(self, answer: httpx.Response, condition: dict[str, Any], broken: list[str]) -> None:
        assert (answer.status_code, code(answer)) == (409, "condition-failed")
        told = answer.json()
        assert told["item"] in broken
        assert told["head_cursor"] == f"{self.epoch}:{self.head}"
        _, name, index = told["item"].split("/")
        if name == "fail_unless_match":
            assert (told["position"], told["id"]) == (None, None)
            return
        fact = self.model.by_id(told["id"])
        assert fact is not None
        assert fact["position"] == told["position"]
        assert matches(condition[name][int(index)], fact)

    def bound(self, position: int, form: str) -> str | int:
        """A position in one of the forms of a bound; the id of a fact only where this test has published one."""
        fact = next((fact for fact in self.model.facts if fact["position"] == position), None)
        if form == "id" and fact is not None:
            return str(fact["id"])
        return {"cursor": f"{self.epoch}:{position}", "text": str(position)}.get(form, position)

    @rule(given=facts, wrong=st.sampled_from(["namespace", "type", "aggregate_ids", "meta", "unknown", "version"]))
    def publish_something_wrong(self, given: NewFact, wrong: str) -> None:
        bad = {
            "namespace": "no name",
            "type": "",
            "aggregate_ids": ["\x00"],
            "meta": {"a:b": "c"},
            "unknown": 1,
            "version": 0,
        }
        batch = self.new([given, given])
        batch[1] = batch[1] | {wrong: bad[wrong]}
        answer = self.client.post("/v1/facts", json={"facts": batch})
        assert (answer.status_code, code(answer)) == (422, "invalid-request")
        assert answer.json()["errors"][0]["pointer"].startswith("/facts/1")

    @rule(given=st.lists(facts, min_size=1, max_size=4), known=st.integers(0, 3))
    def import_lines(self, given: list[NewFact], known: int) -> None:
        old = [{key: value for key, value in fact.items() if key != "position"} for fact in self.model.facts[:known]]
        new = self.new(given)
        content = b"".join(
            json.dumps(fact, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for fact in [*old, *new]
        )
        answer = self.client.post("/v1/facts/import", content=content, headers={"content-type": "application/x-ndjson"})
        result = json.loads(answer.text.splitlines()[-1])["result"]
        assert (result["published"], result["replayed"]) == (len(new), len(old))
        self.accept(new)

    @rule(query=st.lists(items, max_size=2), limit=st.integers(1, 3), descending=st.booleans(), back=st.integers(0, 9))
    def read_pages(self, query: list[Item], limit: int, descending: bool, back: int) -> None:
        after = max(self.start, self.head - back)
        expected = self.model.matching(query, after=after)
        body = {"items": self.in_namespace(query)}
        parameters = {"limit": limit, "after": after, "order": "desc" if descending else "asc"}
        read: list[dict[str, Any]] = []
        while True:
            page = self.client.post("/v1/facts/search", json=body, params=parameters).json()
            read += page["facts"]
            is_newest = "until" not in parameters if descending else page["caught_up"]
            assert page["head_cursor"] == (f"{self.epoch}:{self.head}" if is_newest else None)
            if page["caught_up"]:
                break
            parameters |= {"until": page["until"]} if descending else {"after": page["cursor"]}
        assert stripped(read) == (expected[::-1] if descending else expected)

    @rule(item=items, back=st.integers(0, 9))
    def read_by_parameters_and_export(self, item: Item, back: int) -> None:
        until = max(self.start, self.head - back)
        parameters: list[tuple[str, str | int | float | bool | None]] = [
            ("namespace", self.namespace),
            ("after", self.start),
            ("until", until),
        ]
        parameters += [("type", value) for value in item.get("types", [])]
        parameters += [("aggregate_id", value) for value in item.get("aggregate_ids", [])]
        parameters += [("any_aggregate_id", value) for value in item.get("any_aggregate_id", [])]
        parameters += [("meta", f"{key}:{value}") for key, value in item.get("meta", {}).items()]
        expected = self.model.matching([item], until=until)
        page = self.client.get("/v1/facts", params=[*parameters, ("limit", 1000)]).json()
        assert stripped(page["facts"]) == expected
        lines = self.client.get("/v1/facts/export", params=parameters).content.splitlines()
        assert stripped([json.loads(line) for line in lines]) == expected

    @rule(data=st.data())
    def get_one(self, data: st.DataObject) -> None:
        if self.model.facts:
            fact = data.draw(st.sampled_from(self.model.facts))
            assert stripped([self.client.get(f"/v1/facts/{fact['id']}").json()]) == [fact]
            assert stripped([self.client.get(f"/v1/facts/at/{fact['position']}").json()]) == [fact]
        assert self.client.get(f"/v1/facts/{uuid4()}").status_code == 404
        assert self.client.get(f"/v1/facts/at/{self.head + 1}").status_code == 404

    @rule(back=st.integers(0, 9), item=items)
    def follow(self, back: int, item: Item) -> None:
        after = max(self.start, self.head - back)
        read: list[dict[str, Any]] = []
        parameters = {"after": f"{self.epoch}:{after}"}
        with self.client.stream(
            "POST", "/v1/stream", params=parameters, json={"items": self.in_namespace([item])}
        ) as stream:
            for line in lines(stream):
                if line == "event: caught-up":
                    break
                if line.startswith('data: {"position"') and '"id"' in line:
                    read.append(json.loads(line.removeprefix("data: ")))
        assert stripped(read) == self.model.matching([item], after=after)

    @invariant()
    def the_head_and_the_counts_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.client.get("/v1/position").json()["position"] == self.head
        answer = self.client.get("/v1/types", params={"namespace": self.namespace})
        if not self.model.facts:
            assert answer.status_code == 404
            return
        told = {each["type"]: (each["facts"], each["last_position"]) for each in answer.json()["types"]}
        by_type = {
            fact["type"]: [other for other in self.model.facts if other["type"] == fact["type"]]
            for fact in self.model.facts
        }
        assert told == {kind: (len(group), group[-1]["position"]) for kind, group in by_type.items()}


def stripped(read: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in fact.items() if key != "published_at"} for fact in read]


def lines(stream: httpx.Response) -> Iterator[str]:
    """iter_lines() also breaks lines at U+2028 and its like, which a payload may contain."""
    rest = b""
    for chunk in stream.iter_bytes():
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in complete)


def code(answer: httpx.Response) -> str:
    kind: str = answer.json()["type"]
    return kind.rpartition(":")[2]


@pytest.mark.timeout(180)
def test_the_service_behaves_like_a_list(service: ServiceProcess) -> None:
    machine = type("LogUnderTest", (Log,), {"url": service.url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=150,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=(Phase.generate,),
        ),
    )
