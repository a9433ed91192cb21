"""Two tenants who do all that they may, and whoever watches that neither is ever shown a fact of the other's own."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.access.keys import Patterns, new_grants

Body = dict[str, Any]

PLACES = ("a", "a.sub", "a.hidden", "b", "b.sub", "common")
ALLOWED: dict[str, dict[str, Patterns]] = {
    "ann": {"publish": (["a", "a.*", "common"], []), "read": (["a", "a.*", "common"], ["a.hidden"])},
    "bob": {"publish": (["b", "b.*", "common", "a.hidden"], []), "read": (["*"], ["a", "a.sub"])},
}
MAY_PUBLISH = {"ann": ("a", "a.sub", "a.hidden", "common"), "bob": ("b", "b.sub", "common", "a.hidden")}
MAY_READ = {"ann": ("a", "a.sub", "common"), "bob": ("b", "b.sub", "common", "a.hidden")}


@dataclass(frozen=True)
class Known:
    """A fact that was published, with words that stand in no other one."""

    id: str
    place: str
    namespace: str
    type: str
    word: str
    position: int
    body: Body


class Leak(AssertionError):
    """Somebody was shown what is not theirs."""


class World:
    """One tenant's requests after another's against a real service, each answer looked through.

    The namespaces are of this world alone, and it sees only what came after its beginning.
    """

    def __init__(self, url: str, secrets: dict[str, str], prefix: str, leaks: list[str]) -> None:
        self.prefix = prefix
        self.leaks = leaks
        self.mark = uuid4().hex[:8]
        self.facts: list[Known] = []
        self.clients = {
            who: httpx.Client(
                base_url=url, headers={"authorization": f"Bearer {secret}"}, timeout=20, verify=False, trust_env=False
            )
            for who, secret in secrets.items()
        }
        self.start = self.clients["ann"].get("/v1/position").json()["cursor"]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()

    def leak(self, text: str) -> Leak:
        self.leaks.append(text)
        return Leak(text)

    def namespace(self, place: str) -> str:
        return namespace_of(self.prefix, place)

    def mine(self, who: str) -> list[Known]:
        return [fact for fact in self.facts if fact.place in MAY_READ[who]]

    def ask(self, who: str, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask, and look through the answer. What was sent may come back."""
        client = self.clients[who]
        built = client.build_request(method, path, **request)
        response = client.send(built, stream=True)
        try:
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if b"event: caught-up" in body:
                    break
        finally:
            response.close()
        sent = f"{built.url} {built.headers} {request}"
        self.look_through(who, body.decode(), sent)
        for name, value in response.headers.items():
            self.look_through(who, f"{name}: {value}", sent)
        plain = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return httpx.Response(response.status_code, content=body, headers=plain)

    def look_through(self, who: str, text: str, sent: str) -> None:
        for fact in self.facts:
            if fact.place in MAY_READ[who]:
                continue
            if f'"position":{fact.position},"published_at":"' in text and '"namespace"' in text:
                raise self.leak(f"{who} was shown what stands at {fact.position}: {text}")
            for word in (fact.id, fact.word, fact.type):
                if word in text and word not in sent:
                    raise self.leak(f"{who} was shown {word} of {fact.namespace}: {text}")
        for place in PLACES:
            shown = f'"{self.namespace(place)}"'
            if place not in MAY_READ[who] and shown in text and self.namespace(place) not in sent:
                raise self.leak(f"{who} was shown the namespace {place}: {text}")

    def new_body(self, place: str, tag: str) -> Body:
        word = f"word-{uuid4().hex}"
        return {
            "id": str(uuid4()),
            "namespace": self.namespace(place),
            "type": f"Type-{place}-{self.mark}",
            "aggregate_ids": [self.aggregate(tag)],
            "payload": word,
        }

    def aggregate(self, tag: str) -> str:
        return f"{self.mark}-{tag}"

    def publish(self, who: str, body: Body, condition: Body | None = None) -> httpx.Response:
        request = {"facts": [body]} | ({} if condition is None else {"condition": condition})
        response = self.ask(who, "POST", "/v1/facts", json=request)
        place = next(place for place in PLACES if self.namespace(place) == body["namespace"])
        if place not in MAY_PUBLISH[who]:
            if response.status_code != 403:
                raise self.leak(f"{who} published in {place}: {response.text}")
        elif response.status_code == 201:
            [told] = response.json()["facts"]
            self.facts.append(
                Known(told["id"], place, body["namespace"], body["type"], body["payload"], told["position"], body)
            )
        return response

    def conditional(self, who: str, place: str, tag: str, other: str) -> None:
        """Publish where no fact has another tag: it must fail exactly where such a fact may be read."""
        items = [{"aggregate_ids": [self.aggregate(other)]}]
        forbidding = [fact for fact in self.mine(who) if self.aggregate(other) in fact.body["aggregate_ids"]]
        response = self.publish(who, self.new_body(place, tag), {"fail_if_match": items})
        if forbidding:
            assert response.status_code == 409, response.text
            shown = response.json()
            if (shown["position"], shown["id"]) not in [(fact.position, fact.id) for fact in forbidding]:
                raise self.leak(f"{who} was told of {shown}")
        elif response.status_code != 201:
            raise self.leak(f"{who} was refused for what they may not read: {response.text}")

    def on_existence(self, who: str, place: str, tag: str, other: str) -> None:
        """Publish if a fact has another tag: it must succeed exactly where such a fact may be read."""
        items = [{"aggregate_ids": [self.aggregate(other)]}]
        needed = [fact for fact in self.mine(who) if self.aggregate(other) in fact.body["aggregate_ids"]]
        response = self.publish(who, self.new_body(place, tag), {"fail_unless_match": items})
        if needed:
            assert response.status_code == 201, response.text
        elif response.status_code != 409:
            raise self.leak(f"{who} was let in by what they may not read: {response.text}")

    def repeat(self, who: str, fact: Known, *, changed: bool) -> None:
        """Publish an id again, perhaps with other content, in a namespace that may be published in."""
        body = fact.body
        if changed or fact.place not in MAY_PUBLISH[who]:
            body = self.new_body(MAY_PUBLISH[who][0], "x") | {"id": fact.id}
        response = self.publish(who, body)
        if body is fact.body:
            assert response.json()["facts"] == [{"id": fact.id, "position": fact.position}], response.text
        else:
            assert response.status_code == 409, response.text
            if "position" in response.json():
                raise self.leak(f"{who} was told the position of a conflict: {response.text}")

    def read(self, who: str, filters: dict[str, Any], *, order: str = "asc") -> None:
        parameters = {"after": self.start, "limit": 1000, "order": order, **filters}
        page = self.ask(who, "GET", "/v1/facts", params=parameters).json()
        expected = self.expected(who, filters)
        self.compare(who, [fact["id"] for fact in page["facts"]], expected if order == "asc" else expected[::-1])

    def search(self, who: str, items: list[Body]) -> None:
        page = self.ask(who, "POST", "/v1/facts/search", params={"after": self.start}, json={"items": items}).json()
        matching = [fact for fact in self.mine(who) if not items or any(matches(fact, item) for item in items)]
        self.compare(who, [fact["id"] for fact in page["facts"]], [fact.id for fact in matching])

    def export(self, who: str, filters: dict[str, Any]) -> None:
        lines = self.ask(who, "GET", "/v1/facts/export", params={"after": self.start, **filters}).text.splitlines()
        self.compare(who, [json.loads(line)["id"] for line in lines], self.expected(who, filters))

    def follow(self, who: str, filters: dict[str, Any]) -> None:
        text = self.ask(who, "GET", "/v1/stream", params={"after": self.start, **filters}).text
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        self.compare(who, [event["id"] for event in events if "id" in event], self.expected(who, filters))

    def get(self, who: str, fact: Known) -> None:
        for path in (f"/v1/facts/{fact.id}", f"/v1/facts/at/{fact.position}"):
            response = self.ask(who, "GET", path)
            if fact.place in MAY_READ[who]:
                assert response.json()["id"] == fact.id
            elif response.status_code != 404:
                raise self.leak(f"{who} got {response.status_code} for {path}: {response.text}")

    def begin_at(self, who: str, fact: Known) -> None:
        """An id that may not be read is as unknown as any, wherever a request may begin or end at one."""
        for path, name in (("/v1/facts", "after"), ("/v1/facts", "until"), ("/v1/facts/export", "after")):
            response = self.ask(who, "GET", path, params={name: fact.id})
            if (response.status_code == 404) != (fact.place not in MAY_READ[who]):
                raise self.leak(f"{who} got {response.status_code} for {name}={fact.id} of {fact.place}")
        response = self.ask(who, "GET", "/v1/stream", params={"after": fact.id})
        if (response.status_code == 404) != (fact.place not in MAY_READ[who]):
            raise self.leak(f"{who} got {response.status_code} for a stream after {fact.id}")

    def look_at_catalogue(self, who: str, place: str) -> None:
        listed = {
            each["namespace"]: each["facts"] for each in self.ask(who, "GET", "/v1/namespaces").json()["namespaces"]
        }
        namespace = self.namespace(place)
        is_shown = any(fact.place == place for fact in self.facts) and place in MAY_READ[who]
        if is_shown:
            assert namespace in listed
        types = self.ask(who, "GET", "/v1/types", params={"namespace": namespace})
        one = self.ask(who, "GET", "/v1/types", params={"namespace": namespace, "type": f"Type-{place}-{self.mark}"})
        for response in (types, one):
            if response.is_success and place not in MAY_READ[who]:
                raise self.leak(f"{who} was shown the types of {namespace}: {response.text}")
            assert response.is_success or not is_shown

    def look_at_activity(self, who: str, by: str) -> None:
        self.ask(who, "GET", "/v1/activity", params={"by": by})

    def look_at_positions(self, who: str) -> None:
        self.ask(who, "GET", "/v1/position")
        self.ask(who, "GET", "/v1/position", params={"at": "2100-01-01T00:00:00Z"})

    def expected(self, who: str, filters: dict[str, Any]) -> list[str]:
        item = {
            "namespaces": filters.get("namespace", []),
            "types": filters.get("type", []),
            "aggregate_ids": filters.get("aggregate_id", []),
        }
        return [fact.id for fact in self.mine(who) if matches(fact, item)]

    def compare(self, who: str, found: list[str], expected: list[str]) -> None:
        """Nothing of others, and all of one's own, in order."""
        known = {fact.id: fact for fact in self.facts}
        foreign = [id for id in found if id in known and known[id].place not in MAY_READ[who]]
        if foreign:
            raise self.leak(f"{who} was shown {foreign}")
        assert [id for id in found if id in known] == expected


def matches(fact: Known, item: Body) -> bool:
    return (
        (not item.get("namespaces") or fact.namespace in item["namespaces"])
        and (not item.get("types") or fact.type in item["types"])
        and set(item.get("aggregate_ids", ())) <= set(fact.body["aggregate_ids"])
    )


def namespace_of(prefix: str, place: str) -> str:
    """Places under a prefix: `a.sub` stays below `a`."""
    first, _, rest = place.partition(".")
    return f"{prefix}{first}.{rest}" if rest else f"{prefix}{first}"


def grants_of(who: str, prefix: str) -> Any:
    def here(patterns: Patterns) -> Patterns:
        return tuple([each if each == "*" else f"{prefix}{each}" for each in part] for part in patterns)  # type: ignore[return-value]

    return new_grants(**{action: here(patterns) for action, patterns in ALLOWED[who].items()})
