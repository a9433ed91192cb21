"""Generated streams and imports, which schemathesis cannot ask for by itself: each answer is a documented one."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests import ReadTimeout
from schemathesis.core.result import Ok

from tests.support.service import ServiceProcess

PATH = Path(__file__).parents[2] / "openapi" / "openapi.json"
DOCUMENT = schemathesis.openapi.from_path(PATH)
LABELS = ["GET /v1/stream", "POST /v1/stream", "POST /v1/facts/import"]
EXAMPLES_MAX = 20
STREAM_SECONDS = 0.3


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.fixture(autouse=True)
def direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine's environment has nothing to do with a service on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("label", LABELS)
def test_every_answer_of_a_stream_or_an_import_is_documented(service: ServiceProcess, label: str) -> None:
    operation = operation_of(label)
    streams = "/v1/stream" in label

    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(st.data())
    def every_answer(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        try:
            answer = case.call(base_url=service.url, timeout=STREAM_SECONDS if streams else 10)
        except ReadTimeout:
            assert streams, "only a stream may stay open"
            return
        assert answer.status_code < 500, answer.text
        assert str(answer.status_code) in operation.definition.raw["responses"], answer.text

    every_answer()


def operation_of(label: str) -> Any:
    return next(
        each.ok() for each in DOCUMENT.get_all_operations() if isinstance(each, Ok) and each.ok().label == label
    )
