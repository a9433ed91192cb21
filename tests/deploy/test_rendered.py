"""What Kubernetes and Prometheus would get: rendered by kubectl, validated by their own schemas and tools.

`CRDS` may name a folder with custom resource definitions; without it the schemas of custom resources are not tried.
"""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from factwire import __version__
from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    MONITORING,
    ROOT,
    containers_of,
    documents_of,
    manifest,
    of_kind,
    pod_of,
    values_of,
)

pytestmark = pytest.mark.deploy

OLDEST, NEWEST = "1.30", "1.37"  # preStop sleeps by itself from 1.30 on
OVERLAYS = sorted(path.parent for path in (KUBERNETES / "overlays").glob("*/kustomization.yaml"))
CUSTOM_KINDS = {"Cluster", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}
MADE_BY_OTHERS = {"factwire-database", "factwire-database-ca", "factwire-postgresql-app", "factwire-postgresql-ca"}
VALIDATOR = ROOT / ".venv-deploy/bin/kubernetes-validate"
TOOL_SECONDS = 50
GRAFANA_VARIABLES = {"$__rate_interval": "1m", "$namespace": "any"}


def run(*command: str | Path, expect: int = 0) -> tuple[str, str]:
    """What a tool writes to its output and to its log."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout, done.stderr


def said(*command: str | Path, expect: int = 0) -> str:
    return "".join(run(*command, expect=expect))


@cache
def rendered(folder: Path) -> str:
    output, _ = run("kubectl", "kustomize", folder)
    return output


def overlay_of(folder: Path, *components: str) -> Path:
    """An overlay of one's own: the base and some components."""
    parts = {
        "namespace": "facts",
        "resources": [os.path.relpath(KUBERNETES / "base", folder)],
        "components": [os.path.relpath(KUBERNETES / "components" / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(parts))
    return folder


def validate(folder: Path, text: str, version: str) -> list[str]:
    """Validate strictly, and return the kinds that have no schema."""
    path = folder / "rendered.yaml"
    path.write_text(text)
    return re.findall(r"Couldn't find schema for kind (\w+)", said(VALIDATOR, "--strict", "-k", version, path))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_is_valid(overlay: Path, version: str, tmp_path: Path) -> None:
    kinds = {document["kind"] for document in documents_of(rendered(overlay))}
    assert set(validate(tmp_path, rendered(overlay), version)) == kinds & CUSTOM_KINDS


@pytest.mark.parametrize("database", ["cloudnative-pg", "managed-postgresql"])
@pytest.mark.parametrize("entry", ["gateway", "ingress"])
def test_any_entry_goes_with_any_database(entry: str, database: str, tmp_path: Path) -> None:
    text = rendered(overlay_of(tmp_path, entry, database))
    assert set(validate(tmp_path, text, NEWEST)) <= {"Cluster", "HTTPRoute"}


def test_spans_may_leave_for_the_collector_that_is_named(tmp_path: Path) -> None:
    text = rendered(overlay_of(tmp_path, "gateway", "cloudnative-pg", "tracing"))
    assert set(validate(tmp_path, text, NEWEST)) <= {"Cluster", "HTTPRoute"}
    documents = documents_of(text)
    (deployment,) = of_kind(documents, "Deployment")
    (container,) = containers_of(pod_of(deployment))
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    collector = urlsplit(values["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert values["FACTWIRE_TRACING"] == "true"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (policy,) = [each for each in of_kind(documents, "NetworkPolicy") if "collector" in each["metadata"]["name"]]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ((rule,),) = [policy["spec"]["egress"]]
    assert rule["ports"] == [{"port": collector.port}]
    (namespace,) = [each["namespaceSelector"]["matchLabels"].values() for each in rule["to"]]
    assert list(namespace) == [str(collector.hostname).partition(".")[2]]


def test_the_master_keys_come_from_a_secret_that_is_mounted_where_they_are_looked_for(tmp_path: Path) -> None:
    text = rendered(overlay_of(tmp_path, "gateway", "cloudnative-pg", "data-subjects"))
    assert set(validate(tmp_path, text, NEWEST)) <= {"Cluster", "HTTPRoute"}
    (deployment,) = of_kind(documents_of(text), "Deployment")
    pod = pod_of(deployment)
    (container,) = containers_of(pod)
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "master-keys"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "master-keys"]
    folder, _, name = values["FACTWIRE_MASTER_KEY_FILE"].rpartition("/")
    assert (mount["mountPath"], mount["readOnly"]) == (folder, True)
    readme = (DEPLOY / "README.md").read_text()
    assert f"create secret generic {volume['secret']['secretName']} --from-file={name}\n" in readme
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_overlay_of_the_readme_is_valid_and_changes_what_it_says(tmp_path: Path) -> None:
    (overlay,) = re.findall(r"^ *```yaml\n(.*?)```", (DEPLOY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    steps = {
        "../../../": f"{os.path.relpath(DEPLOY, tmp_path)}/",
        "../../": f"{os.path.relpath(KUBERNETES, tmp_path)}/",
    }
    overlay = re.sub(r"(?<=- )(?:\.\./)+", lambda climb: steps[climb[0]], overlay)
    (tmp_path / "kustomization.yaml").write_text(dedent(overlay))
    documents = documents_of(rendered(tmp_path))
    (route,) = of_kind(documents, "HTTPRoute")
    assert set(validate(tmp_path, rendered(tmp_path), NEWEST)) == CUSTOM_KINDS
    assert route["spec"]["hostnames"] == ["facts.my-company.example"]
    assert route["spec"]["parentRefs"] == [{"name": "my-gateway", "namespace": "my-gateways"}]
    for workload in of_kind(documents, "Deployment") + of_kind(documents, "Job"):
        (container,) = containers_of(pod_of(workload))
        assert container["image"] == f"registry.example.com/factwire:{__version__}"


def test_a_misspelt_field_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "rendered.yaml").write_text(rendered(OVERLAYS[0]).replace("readinessProbe", "readinesProbe"))
    assert "readinesProbe" in said(VALIDATOR, "--strict", "-k", NEWEST, tmp_path / "rendered.yaml", expect=1)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_whatever_is_named_is_there(overlay: Path) -> None:
    documents = documents_of(rendered(overlay))
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    configured = {name for kind, name in names if kind == "ConfigMap"} | MADE_BY_OTHERS
    workloads = of_kind(documents, "Deployment") + of_kind(documents, "Job")
    assert len(workloads) == 2
    for workload in workloads:
        values = list(values_of(pod_of(workload)))
        referred = {value for path, value in values if re.search(r"(secretKeyRef|configMapRef|configMap)/name$", path)}
        referred |= {value for path, value in values if path.endswith("secret/secretName")}
        assert referred <= configured
        assert ("ServiceAccount", pod_of(workload)["serviceAccountName"]) in names
        for container in containers_of(pod_of(workload)):
            assert re.fullmatch(r"(.+/)?factwire:\d[\w.]*", container["image"])
            assert {"PGSSLMODE", "FACTWIRE_DATABASE_URL"} <= {each["name"] for each in container["env"]}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_selectors_select(overlay: Path) -> None:
    documents = documents_of(rendered(overlay))
    (deployment,), (job,) = of_kind(documents, "Deployment"), of_kind(documents, "Job")
    (service,), (monitor,) = of_kind(documents, "Service"), of_kind(documents, "ServiceMonitor")
    (budget,) = of_kind(documents, "PodDisruptionBudget")
    serving, migrating = (each["spec"]["template"]["metadata"]["labels"].items() for each in (deployment, job))
    for selector in (
        service["spec"]["selector"],
        *(each["spec"]["selector"]["matchLabels"] for each in (deployment, budget)),
    ):
        assert selector.items() <= serving
        assert not selector.items() <= migrating
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    policies = {
        each["metadata"]["name"]: each["spec"]["podSelector"]["matchLabels"]
        for each in of_kind(documents, "NetworkPolicy")
    }
    for selector in policies.values():
        assert selector.items() <= serving
    for name in ("factwire", "factwire-to-postgresql"):
        assert policies[name].items() <= migrating


def definitions() -> dict[str, Any]:
    """The schemas of the custom kinds, closed: a field that is not in them is refused."""
    folder = Path(os.environ["CRDS"])
    schemas = {}
    for path in folder.glob("*.yaml"):
        for crd in of_kind(documents_of(path.read_text()), "CustomResourceDefinition"):
            for version in crd["spec"]["versions"]:
                api = f"{crd['spec']['group']}/{version['name']}"
                schemas[f"{api}/{crd['spec']['names']['kind']}"] = closed(version["schema"]["openAPIV3Schema"])
    return schemas


def closed(schema: Any) -> Any:
    match schema:
        case dict():
            inner = {key: closed(value) for key, value in schema.items()}
            open_ended = "additionalProperties" in inner or inner.get("x-kubernetes-preserve-unknown-fields")
            if isinstance(inner.get("properties"), dict) and inner.get("type") == "object" and not open_ended:
                inner["additionalProperties"] = False
            return inner
        case list():
            return [closed(each) for each in schema]
        case _:
            return schema


@pytest.mark.skipif("CRDS" not in os.environ, reason="CRDS names no folder with custom resource definitions")
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_a_custom_resource_is_valid(overlay: Path) -> None:
    schemas = definitions()
    for document in documents_of(rendered(overlay)):
        if document["kind"] in CUSTOM_KINDS:
            schema = schemas[f"{document['apiVersion']}/{document['kind']}"]
            schema["properties"]["metadata"] = {"type": "object"}
            # Not `validate`, which refuses the schemas themselves: their patterns are spelt as Go takes them.
            assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)] == []


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The alerts as Prometheus itself takes them."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(manifest(MONITORING / "alerts.yaml")["spec"]))
    return path


def test_the_alerts_are_valid(rules: Path) -> None:
    assert "14 rules found" in said("promtool", "check", "rules", rules)


def test_the_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    tests = rules.with_name("alerts-test.yaml")
    tests.write_text((MONITORING / tests.name).read_text())
    assert "SUCCESS" in said("promtool", "test", "rules", tests)


def test_every_alert_is_tried() -> None:
    names = {
        rule["alert"] for group in manifest(MONITORING / "alerts.yaml")["spec"]["groups"] for rule in group["rules"]
    }
    tried = set(re.findall(r"Factwire\w+", (MONITORING / "alerts-test.yaml").read_text()))
    assert tried == names


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    for variable, value in GRAFANA_VARIABLES.items():
        queries = [query.replace(variable, value) for query in queries]
    recorded = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    assert f"{len(queries)} rules found" in said("promtool", "check", "rules", path)
