"""What tests of erasure ask of a service, and where they look for what must be gone."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.builders import new_fact, publication

SECRET = "Erika-Mustermann-4711"
ERASED = {"payload": None, "erased": True}


def a_secret_fact(data_subject: str, **changes: object) -> dict[str, Any]:
    return new_fact(**{"data_subject": data_subject, "payload": {"name": SECRET}} | changes)


async def publish(client: httpx.AsyncClient, *facts: dict[str, Any]) -> int:
    """Publish facts together; the position of the last one."""
    answer = await client.post("/v1/facts", json=publication(*facts))
    assert answer.is_success, answer.text
    position: int = answer.json()["position"]
    return position


async def erase(client: httpx.AsyncClient, data_subject: str) -> dict[str, Any]:
    answer = await client.delete(f"/v1/data-subjects/{data_subject}")
    assert answer.status_code == 200, answer.text
    erased: dict[str, Any] = answer.json()
    return erased


def opened(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=20, verify=False)


def files_that_hold(directory: Path, text: str) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n") if line]
