"""The manifests of deploy/ as they stand in their files, and what they need to be looked through."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MONITORING = DEPLOY / "monitoring"

Manifest = dict[str, Any]


def documents_of(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def manifest(path: Path) -> Manifest:
    (document,) = documents_of(path.read_text())
    return document


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def pod_of(workload: Manifest) -> Manifest:
    """The specification of the pods that a deployment or a job makes."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def containers_of(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def values_of(part: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value below a part, with the keys that lead to it."""
    match part:
        case dict():
            for key, value in part.items():
                yield from values_of(value, f"{path}/{key}")
        case list():
            for value in part:
                yield from values_of(value, path)
        case _:
            yield path, part
