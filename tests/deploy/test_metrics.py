"""Alerts, graphs and the autoscaler name metrics that exist."""

import json
import re

import pytest

from tests.deploy.manifests import MONITORING, ROOT

OTHERS = {"kube_deployment_status_replicas_ready"}  # of kube-state-metrics
SERIES_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")
METRIC = re.compile(r"\b(?:factwire|kube)_[a-z_]+")


def documented() -> set[str]:
    """The series of the metrics in the table of the operations page."""
    rows = re.findall(r"^\| `(factwire_\w+)` \| (.*) \|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    series = set()
    for name, meaning in rows:
        histogram = meaning.startswith("histogram")
        series |= {f"{name}{ending}" for ending in SERIES_OF_A_HISTOGRAM} if histogram else {name}
    return series


@pytest.mark.parametrize("name", ["alerts.yaml", "alerts-test.yaml", "autoscaler.yaml", "prometheus-adapter.yaml"])
def test_every_metric_that_is_named_exists(name: str) -> None:
    named = set(METRIC.findall((MONITORING / name).read_text()))
    assert named
    assert named <= documented() | OTHERS


def test_every_metric_on_the_dashboard_exists() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    named = {metric for panel in panels for target in panel["targets"] for metric in METRIC.findall(target["expr"])}
    assert named
    assert named <= documented()
