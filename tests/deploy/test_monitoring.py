"""Every alert says what to do, and the dashboard can be read."""

import json
import re

import pytest

from tests.deploy.manifests import MONITORING, Manifest, manifest

METRIC = re.compile(r"\b(?:factwire|kube)_[a-z_]+")

Dashboard = Manifest
Alert = Manifest


def dashboard() -> Dashboard:
    board: Dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    return board


def alerts() -> list[Alert]:
    return [rule for group in manifest(MONITORING / "alerts.yaml")["spec"]["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: Alert) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    assert len(alert["annotations"]["description"].split()) > 12


def test_the_dashboard_asks_the_source_and_the_namespace_that_are_chosen() -> None:
    variables = {variable["name"]: variable["type"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource": "datasource", "namespace": "query"}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert len(METRIC.findall(target["expr"])) == target["expr"].count('namespace=~"$namespace"')


def test_panels_do_not_cover_each_other_and_have_numbers_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_times_are_shown_as_times() -> None:
    for panel in dashboard()["panels"]:
        in_seconds = any("_seconds" in target["expr"] for target in panel["targets"])
        assert (panel["fieldConfig"]["defaults"]["unit"] == "s") == in_seconds, panel["title"]
