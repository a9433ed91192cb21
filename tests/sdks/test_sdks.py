"""Generated clients: each is made and compiled, and does the same on a network that breaks."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartService
from tests.recipes.cutting import Relay, relaying
from tests.recipes.programs import Program, publish, running
from tests.sdks.generating import (
    MAKERS,
    PAGE,
    SDKS,
    java_openapi_generator,
    python_openapi_generator,
    typescript_openapi_generator,
)
from tests.support.builders import new_fact
from tests.support.waiting import until

IMPORTING = {python_openapi_generator, typescript_openapi_generator}
EXPORTING = {*IMPORTING, java_openapi_generator}
CUTS = 3
STREAM_SECONDS = 4  # a client that follows a stream sees it end cleanly several times
ROOM = 400  # bytes: less than an answer with a fact

pytestmark = [pytest.mark.sdks, pytest.mark.timeout(240)]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
async def test_a_generated_client_does_what_a_user_needs(
    start_service: StartService, tmp_path: Path, make: Callable[[Path], list[str]]
) -> None:
    command = make(tmp_path)
    service = await start_service(stream_age_seconds_max=STREAM_SECONDS)
    async with (
        relaying(service.port) as (relay, relayed_url),
        running([*command, service.url, relayed_url], log_path=tmp_path / "log") as program,
    ):
        expected = await publish_while_cutting(service.url, relay)
        assert await program.ended() == 0, program.said
    assert relay.cut > CUTS
    steps = told(program)
    assert steps["published"] == steps["replayed"] == 1
    assert (steps["refused"], steps["status"]) == ("urn:factwire:problem:condition-failed", 409)
    assert steps["paged"] == [1, 2, 3, 4, 5, 6]
    assert steps["labels"] == ["x", "y"]
    assert steps["followed"] == expected
    assert steps.get("exported", 6) == steps.get("replayed_by_import", 6) == 6
    assert ("exported" in steps, "replayed_by_import" in steps) == (make in EXPORTING, make in IMPORTING)


def test_what_the_page_shows_stands_in_a_scenario() -> None:
    suffixes = {".py", ".mts", ".java", ".go"}
    scenarios = [stripped(path.read_text()) for path in SDKS.iterdir() if path.suffix in suffixes]
    shown = re.findall(r"^```(?:python|ts|java|go)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(shown) > len(MAKERS)
    for block in shown:
        assert any(stripped(block) in scenario for scenario in scenarios), block


def stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


async def publish_while_cutting(url: str, relay: Relay) -> list[int]:
    """Cut the follower off while it waits and while it is answered. Returns the positions that it has to see."""
    positions: list[int] = []
    requests = 0
    for _ in range(CUTS):
        await until_more(lambda: relay.requests, requests)
        relay.room = ROOM
        relay.cut_off()
        cut = relay.cut
        positions.append(await publish(url, new_fact(payload={"text": "x" * ROOM})))
        await until_more(lambda: relay.cut, cut)
        requests = relay.requests
        relay.room = float("inf")
    positions.append(await publish(url, new_fact(type="OrdersClosed")))
    return positions


async def until_more(counted: Callable[[], int], than: int) -> None:
    await until(lambda: counted() > than)


def told(program: Program) -> dict[str, Any]:
    steps: dict[str, Any] = {}
    for line in program.said.splitlines():
        if line.startswith("{"):
            steps |= json.loads(line)
    return steps
