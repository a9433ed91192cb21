"""The manifests agree with each other, with the settings and with what the documentation promises."""

import re
from pathlib import Path

import pytest

from factwire import __version__
from factwire.settings import MIB, Settings
from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    MONITORING,
    ROOT,
    Manifest,
    containers_of,
    documents_of,
    manifest,
    pod_of,
    values_of,
)

BASE = KUBERNETES / "base"
COMPONENTS = KUBERNETES / "components"
KUSTOMIZATIONS = sorted(DEPLOY.rglob("kustomization.yaml"))
WORKLOADS = ("deployment.yaml", "migration.yaml")
LOOSE_FILES = {"alerts-test.yaml", "prometheus-adapter.yaml"}  # read by promtool and by people
PASSWORD_IN_URL = re.compile(r"://[^/\s:]+:[^@\s]+@")
LISTENING_AND_APPENDING = 5  # three connections follow the log, one appends, one listens


def generated_settings() -> dict[str, str]:
    (generator,) = manifest(BASE / "kustomization.yaml")["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


def settings() -> Settings:
    given = {name.removeprefix("FACTWIRE_").lower(): value for name, value in generated_settings().items()}
    return Settings.model_validate(given)


def deployment() -> Manifest:
    return manifest(BASE / "deployment.yaml")


def files_of(kustomization: Path) -> set[Path]:
    """The files and folders that a kustomization names."""
    parts = manifest(kustomization)
    named = [
        *parts.get("resources", []),
        *parts.get("components", []),
        *(each["path"] for each in parts.get("patches", [])),
    ]
    named += [file for each in parts.get("configMapGenerator", []) for file in each.get("files", [])]
    return {(kustomization.parent / name).resolve() for name in named}


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(DEPLOY)))
def test_a_kustomization_names_what_is_there(kustomization: Path) -> None:
    for path in files_of(kustomization):
        assert path.is_file() or (path / "kustomization.yaml").is_file(), path


def test_no_manifest_is_forgotten() -> None:
    named = set().union(*map(files_of, KUSTOMIZATIONS))
    for path in DEPLOY.rglob("*.yaml"):
        assert path in named or path.name in {"kustomization.yaml"} | LOOSE_FILES, path


def test_the_image_has_the_version_of_the_service() -> None:
    (image,) = manifest(BASE / "kustomization.yaml")["images"]
    assert image["newTag"] == __version__


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_container_has_more_rights_than_it_needs(name: str) -> None:
    pod = pod_of(manifest(BASE / name))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in containers_of(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


def test_the_user_is_that_of_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\d+)", dockerfile, re.MULTILINE) == ["10001"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_address_of_the_service_does_not_become_a_setting(name: str) -> None:
    """Kubernetes would put FACTWIRE_PORT=tcp://… into each container because the service is called factwire."""
    assert pod_of(manifest(BASE / name))["enableServiceLinks"] is False


def test_the_settings_exist_and_are_allowed() -> None:
    known = {f"FACTWIRE_{name.upper()}" for name in Settings.model_fields}
    assert generated_settings()
    assert set(generated_settings()) <= known
    assert settings().workers == 1
    for path in DEPLOY.rglob("*.yaml"):
        assert set(re.findall(r"FACTWIRE_[A-Z_]*[A-Z]", path.read_text())) <= known, path


def test_no_secret_stands_in_a_file_or_in_a_config_map() -> None:
    assert not any("URL" in name for name in generated_settings())
    for path in DEPLOY.rglob("*.yaml"):
        assert not PASSWORD_IN_URL.search(path.read_text()), path
        for document in documents_of(path.read_text()):
            assert document.get("kind") not in {"Secret", "ConfigMap"}
            assert "secretGenerator" not in document


@pytest.mark.parametrize("path", [*(BASE / name for name in WORKLOADS), COMPONENTS / "cloudnative-pg/connection.yaml"])
def test_the_url_of_the_database_comes_from_a_secret(path: Path) -> None:
    for container in containers_of(pod_of(manifest(path))):
        (url,) = [each for each in container["env"] if each["name"] == "FACTWIRE_DATABASE_URL"]
        assert set(url["valueFrom"]) == {"secretKeyRef"}


@pytest.mark.parametrize("component", ["cloudnative-pg", "managed-postgresql"])
def test_the_certificate_of_the_database_is_verified(component: str) -> None:
    pod = pod_of(manifest(COMPONENTS / component / "connection.yaml"))
    (container,) = pod["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert environment["PGSSLMODE"] == "verify-full"
    assert environment["PGSSLROOTCERT"] == f"{mount['mountPath']}/ca.crt"
    assert mount["name"] == volume["name"]


def test_a_pod_has_the_time_that_the_operations_page_asks_for() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    (finish,) = re.findall(r"grace\s+period of `FACTWIRE_DRAIN_SECONDS` \+ (\d+) s", page)
    pod = pod_of(deployment())
    (container,) = pod["containers"]
    asleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert asleep >= 5
    assert pod["terminationGracePeriodSeconds"] == asleep + settings().drain_seconds + int(finish)


def test_a_process_is_restarted_only_if_it_does_not_answer_and_gets_requests_only_if_it_is_ready() -> None:
    (container,) = pod_of(deployment())["containers"]
    asked = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_a_rolling_update_takes_no_pod_away_before_its_successor_is_ready() -> None:
    assert deployment()["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_metrics_are_those_of_the_only_process_of_a_container() -> None:
    (container,) = pod_of(deployment())["containers"]
    assert {"name": "FACTWIRE_WORKERS", "value": "1"} in container["env"]


def test_postgresql_has_connections_for_every_pod() -> None:
    pods = manifest(BASE / "autoscaler.yaml")["spec"]["maxReplicas"]
    pods += deployment()["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    parameters = manifest(COMPONENTS / "cloudnative-pg/cluster.yaml")["spec"]["postgresql"]["parameters"]
    needed = pods * (settings().read_connections_max + LISTENING_AND_APPENDING)
    assert needed + 20 <= int(parameters["max_connections"])


def test_the_bounds_of_a_process_fit_into_its_memory() -> None:
    given = settings()
    bound = 2 * given.ring_bytes_max + given.bodies_bytes_max + given.publish_bytes_waiting_max
    bound += max(given.stream_history_bytes_max, given.streams_max * 64 * 1024)
    (container,) = pod_of(deployment())["containers"]
    assert container["resources"]["limits"]["memory"] == "2Gi"
    assert bound + 256 * MIB < 2048 * MIB


def test_the_autoscaler_adds_pods_before_streams_are_sent_away() -> None:
    (streams,) = [
        each["pods"] for each in manifest(MONITORING / "autoscaler.yaml")["spec"]["metrics"] if "pods" in each
    ]
    assert 2 * int(streams["target"]["averageValue"]) <= settings().streams_max


def test_the_patch_of_the_autoscaler_keeps_what_it_measured() -> None:
    """A patch replaces the list of metrics as a whole."""
    kept, *_ = manifest(MONITORING / "autoscaler.yaml")["spec"]["metrics"]
    assert [kept] == manifest(BASE / "autoscaler.yaml")["spec"]["metrics"]


def test_a_gateway_never_ends_an_answer_by_its_age() -> None:
    (rule,) = manifest(COMPONENTS / "gateway/http-route.yaml")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}


def test_an_ingress_waits_longer_than_the_slowest_heartbeat_and_passes_everything_on_at_once() -> None:
    annotations = manifest(COMPONENTS / "ingress/ingress.yaml")["metadata"]["annotations"]
    nginx = {name.rpartition("/")[2]: value for name, value in annotations.items() if name.startswith("nginx.ingress")}
    assert int(nginx["proxy-read-timeout"]) > 60
    assert {name: nginx[name] for name in ("proxy-buffering", "proxy-request-buffering", "proxy-body-size")} == {
        "proxy-buffering": "off",
        "proxy-request-buffering": "off",
        "proxy-body-size": "0",
    }


@pytest.mark.parametrize("path", ["gateway/http-route.yaml", "ingress/ingress.yaml"])
def test_metrics_and_probes_are_not_published(path: str) -> None:
    values = dict(values_of(manifest(COMPONENTS / path)["spec"]["rules"]))
    assert [value for value in values.values() if isinstance(value, str) and value.startswith("/")] == ["/v1"]


def test_a_fail_over_loses_nothing_that_was_acknowledged() -> None:
    cluster = manifest(COMPONENTS / "cloudnative-pg/cluster.yaml")["spec"]
    assert cluster["instances"] >= 3
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
