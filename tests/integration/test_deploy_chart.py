"""The Helm chart: rendered as Helm does, and every object checked against the schema of its kind."""

import copy
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft4Validator, Draft7Validator

from dataproc.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "kuberay"
CRDS = Path(os.environ.get("KUBERAY_CRDS", ROOT.parent / "shared/kuberay-crds-1.7.0"))
OLDEST_KUBERNETES = "1.30"
NEWEST_KUBERNETES = kubernetes_validate.latest_version()

Object = dict[str, Any]

MANY_VALUES: Object = {
    "image": {"repository": "registry.example/dataproc", "digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
    "events": {"secretName": "receiver", "key": "url"},
    "settings": {
        "DATAPROC_LEASE": "PT45S",
        "DATAPROC_MAX_RUNNERS": 8,
        "DATAPROC_MAX_RUNNING": 2000000,
        "DATAPROC_MAX_RUNNING_PER_OWNER": 20,
        "DATAPROC_DIRECT_LIMIT": 4294967296,
    },
    "envFrom": [{"secretRef": {"name": "sources"}}],
    "dispatcher": {"replicas": 2},
    "ray": {"auth": {"mode": "token", "secretName": "ray-token"}},
    "api": {
        "workers": {"replicas": 1},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/api"}},
    },
    "compute": {
        "nodeSelector": {"pool": "ray"},
        "tolerations": [{"key": "ray", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "networkPolicy": {
        "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    },
}
RELEASES: dict[str, Object] = {
    "defaults": {},
    "many": MANY_VALUES,
    "bare": {
        "ray": {"auth": {"mode": "disabled"}},
        "networkPolicy": {"enabled": False},
        "migrations": {"enabled": False},
    },
}


def render(values: Object, *, name: str = "dataproc") -> list[Object]:
    """Return the objects of a release."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        manifests = chart.render(values=values, name=name, namespace="data")
    texts = [text for path, text in sorted(manifests.items()) if path.endswith(".yaml")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


@cache
def released(release: str) -> tuple[Object, ...]:
    """Return the objects of one of our releases."""
    return tuple(render(RELEASES[release]))


def only(kind: str, name: str, release: str = "defaults") -> Object:
    """Return the object of a kind and a name."""
    (found,) = [o for o in released(release) if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """Yield every template of a pod, with the name of what it belongs to."""
    for found in objects:
        yield from pods_within(found, found["metadata"]["name"])


def pods_within(value: object, name: str) -> Iterator[tuple[str, Object]]:
    if isinstance(value, dict):
        if "containers" in value.get("spec", {}):
            yield name, value
        for child in value.values():
            yield from pods_within(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from pods_within(child, name)


def env_of(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment of a container."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────


@cache
def crd(kind: str) -> Object:
    """Return the schema of a custom resource, changed so that unknown fields are errors."""
    path = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"no KubeRay CRDs in {CRDS}: set KUBERAY_CRDS to a folder that holds {path.name}")
    definition = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (schema,) = [
        v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["served"] and v["name"] == "v1"
    ]
    strict: Object = closed(schema)
    strict["properties"]["metadata"] = {"type": "object"}
    return strict


def closed(schema: Any) -> Any:
    """Return a schema in which an object has the fields that are named, and no others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    is_object = isinstance(parts.get("properties"), dict) and parts.get("type") == "object"
    if is_object and not parts.get("x-kubernetes-preserve-unknown-fields"):
        parts.setdefault("additionalProperties", False)
    return parts


def errors_in(found: Object) -> list[str]:
    """Return what the schema of its kind says against a custom resource."""
    return [f"{e.json_path}: {e.message}" for e in Draft4Validator(crd(found["kind"])).iter_errors(found)]


@pytest.mark.parametrize("release", RELEASES)
def test_ray_objects_keep_to_the_schemas_of_kuberay(release: str) -> None:
    ray = [found for found in released(release) if found["apiVersion"] == "ray.io/v1"]

    assert {found["kind"] for found in ray} == {"RayService", "RayCluster"}
    assert [error for found in ray for error in errors_in(found)] == []


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@pytest.mark.parametrize("release", RELEASES)
def test_other_objects_keep_to_the_schemas_of_kubernetes(release: str, version: str) -> None:
    others = [found for found in released(release) if found["apiVersion"] != "ray.io/v1"]

    assert others
    for found in others:
        kubernetes_validate.validate(found, version, strict=True)


def set_at(found: Object, path: str, value: object) -> Object:
    """Return a copy of an object with something else at a path."""
    changed: Any = copy.deepcopy(found)
    *steps, last = path.split(".")
    at = changed
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[last] = value
    return dict(changed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.enableInTreeAutoscalling", True),
        ("spec.enableInTreeAutoscaling", "yes"),
        ("spec.authOptions.mode", "mtls"),
        ("spec.autoscalerOptions.version", "v3"),
        ("spec.workerGroupSpecs.0.minReplica", 1),
        ("spec.headGroupSpec.template.spec.containers.0.imagePullPolicyy", "Always"),
        ("spec.headGroupSpec.template.metadata.labels.x", 1),
    ],
)
def test_the_schemas_of_kuberay_see_a_fault(path: str, value: object) -> None:
    assert errors_in(set_at(only("RayCluster", "dataproc-compute"), path, value))


@pytest.mark.parametrize(
    ("path", "value"), [("spec.replica", 1), ("spec.replicas", "one"), ("spec.template.spec.containers.0.imagee", "x")]
)
def test_the_schemas_of_kubernetes_see_a_fault(path: str, value: object) -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            set_at(only("Deployment", "dataproc-dispatcher"), path, value), OLDEST_KUBERNETES, strict=True
        )


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def test_the_chart_is_lint_free() -> None:
    report = helm_python.lint(CHART, strict=True)

    assert report["errors"] == []
    assert [m["error"] for m in report["messages"] if m["severity"] > 1] == []


def test_the_linter_of_charts_sees_a_fault(tmp_path: Path) -> None:
    with helm_python.Chart.load(CHART) as chart:
        broken = Path(chart.save_dir(tmp_path))
    (broken / "templates/broken.yaml").write_text("a: {{ .Values.nothing.at.all }}\n", encoding="utf-8")

    assert helm_python.lint(broken, strict=True)["errors"]


def test_the_schema_of_values_is_a_json_schema() -> None:
    with helm_python.Chart.load(CHART) as chart:
        schema = chart.schema

    assert schema
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize(
    "values",
    [
        {"surprise": 1},
        {"image": {"repository": ""}},
        {"image": {"digest": "latest"}},
        {"databases": {"metadata": {"secretName": "", "key": "x"}}},
        {"databases": {"metadata": {"password": "x"}}},
        {"settings": {"LEASE": "1"}},
        {"settings": {"DATAPROC_METADATA_URL": "postgresql://user:word@host/db"}},
        {"settings": {"DATAPROC_EVENTS_URL": "https://receiver.example/token"}},
        {"events": {"url": "https://receiver.example/token"}},
        {"events": {"secretName": "Receiver"}},
        {"ray": {"auth": {"mode": "none"}}},
        {"ray": {"version": "latest"}},
        {"api": {"replicas": 0}},
        {"dispatcher": {"replicas": 0}},
        {"compute": {"workers": {"minReplicas": 0}}},
        {"compute": {"head": {"resources": {"requests": {"memory": "much"}}}}},
        {"networkPolicy": {"apiFrom": [{}]}},
        {"envFrom": [{"secretRef": {}}]},
    ],
    ids=str,
)
def test_wrong_values_are_refused(values: Object) -> None:
    with pytest.raises(helm_python.HelmError):
        render(values)


def test_fewer_workers_at_most_than_at_least_are_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="maxReplicas"):
        render({"compute": {"workers": {"minReplicas": 3, "maxReplicas": 2}}})


def test_settings_of_the_chart_are_settings_of_the_program() -> None:
    known = {f"DATAPROC_{name.upper()}" for name in Settings.model_fields}

    used = {
        name
        for _, pod in pods(released("many"))
        for container in pod["spec"]["containers"]
        for name in env_of(container)
        if name.startswith("DATAPROC_")
    }

    assert {"DATAPROC_METADATA_URL", "DATAPROC_LEASE"} <= used
    assert used - known == set()


# ── what the objects say ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("release", RELEASES)
def test_no_pod_runs_as_root_or_gains_rights(release: str) -> None:
    found = list(pods(released(release)))

    assert len(found) >= 5
    for name, pod in found:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name


@pytest.mark.parametrize("release", RELEASES)
def test_every_container_has_the_image_and_says_what_it_needs(release: str) -> None:
    containers = [container for _, pod in pods(released(release)) for container in pod["spec"]["containers"]]

    assert len({container["image"] for container in containers}) == 1
    assert all(container["resources"]["requests"] and container["resources"]["limits"] for container in containers)


@pytest.mark.parametrize("release", RELEASES)
def test_secrets_come_by_reference_only(release: str) -> None:
    assert [found for found in released(release) if found["kind"] == "Secret"] == []
    for name, pod in pods(released(release)):
        for container in pod["spec"]["containers"]:
            env = env_of(container)
            assert set(env["DATAPROC_METADATA_URL"]) == {"secretKeyRef"}, name
            assert set(env["DATAPROC_WAREHOUSE_URL"]) == {"secretKeyRef"}, name
            assert set(env.get("DATAPROC_EVENTS_URL", ["secretKeyRef"])) == {"secretKeyRef"}, name
            assert "secretKeyRef" in env.get("RAY_AUTH_TOKEN", {"secretKeyRef": None}), name


@pytest.mark.parametrize("release", RELEASES)
def test_nobody_but_ray_moves_a_pod_with_work_in_it(release: str) -> None:
    ray = [pod for _, pod in pods(released(release)) if pod["spec"]["containers"][0]["name"].startswith("ray-")]

    assert len(ray) == 4
    for pod in ray:
        assert pod["metadata"]["annotations"] == {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        }


def test_the_api_is_the_application_behind_haproxy() -> None:
    service = only("RayService", "dataproc-api")["spec"]
    (application,) = yaml.safe_load(service["serveConfigV2"])["applications"]

    code = (ROOT / "serve_app/deployment.py").read_text(encoding="utf-8")

    assert application["import_path"] == "serve_app.deployment:app"
    assert [f'name="{deployment["name"]}"' in code for deployment in application["deployments"]] == [True]
    environments = [env_of(pod["spec"]["containers"][0]) for _, pod in pods_within(service, "api")]
    assert len(environments) == 2
    for env in environments:
        assert (env["RAY_SERVE_ENABLE_HA_PROXY"], env["RAY_SERVE_THROUGHPUT_OPTIMIZED"]) == ("1", "1")


def components_with(variable: str, release: str) -> dict[str, Any]:
    """Return the components whose containers know a variable, and what it is there."""
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: env_of(container)[variable]
        for _, pod in pods(released(release))
        for container in pod["spec"]["containers"]
        if variable in env_of(container)
    }


@pytest.mark.parametrize("database", ["metadata", "warehouse"])
def test_every_component_knows_both_databases_by_the_same_secrets(database: str) -> None:
    secret = {"secretKeyRef": {"name": "dataproc-databases", "key": f"{database}-url"}}

    assert components_with(f"DATAPROC_{database.upper()}_URL", "defaults") == {
        "api": secret,
        "compute": secret,
        "dispatcher": secret,
        "migrations": secret,
    }


def test_only_the_dispatcher_knows_who_is_told_of_events() -> None:
    assert components_with("DATAPROC_EVENTS_URL", "defaults") == {}
    assert components_with("DATAPROC_EVENTS_URL", "many") == {
        "dispatcher": {"secretKeyRef": {"name": "receiver", "key": "url"}}
    }


def test_limits_of_running_jobs_are_the_same_for_all_who_claim() -> None:
    limits = components_with("DATAPROC_MAX_RUNNING_PER_OWNER", "many")

    assert {limits["compute"], limits["dispatcher"]} == {"20"}


def test_settings_reach_the_program_as_it_can_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: Object = MANY_VALUES["settings"]
    container = only("Deployment", "dataproc-dispatcher", "many")["spec"]["template"]["spec"]["containers"][0]
    for name in given:
        monkeypatch.setenv(name, env_of(container)[name])

    known = Settings()

    assert (known.lease, known.max_runners) == (timedelta(seconds=45), 8)
    assert (known.max_running, known.max_running_per_owner) == (2_000_000, 20)
    assert known.direct_limit == 4 * 1024**3


def test_ray_counts_on_what_its_pods_may_use() -> None:
    ray = [pod["spec"]["containers"][0] for _, pod in pods(released("defaults"))]
    resources = [container["resources"] for container in ray if container["name"].startswith("ray-")]

    assert len(resources) == 4
    assert all(given["requests"] == given["limits"] for given in resources)


def test_heads_run_no_tasks() -> None:
    heads = [
        only("RayService", "dataproc-api")["spec"]["rayClusterConfig"]["headGroupSpec"],
        only("RayCluster", "dataproc-compute")["spec"]["headGroupSpec"],
    ]

    assert [head["rayStartParams"]["num-cpus"] for head in heads] == ["0", "0"]


def test_compute_grows_and_shrinks_but_always_has_a_worker() -> None:
    spec = only("RayCluster", "dataproc-compute")["spec"]

    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["workerGroupSpecs"]
    assert all(group["minReplicas"] >= 1 and group["idleTimeoutSeconds"] > 0 for group in spec["workerGroupSpecs"])


@pytest.mark.parametrize(("release", "secret"), [("defaults", "dataproc-compute"), ("many", "ray-token")])
def test_the_dispatcher_speaks_to_the_head_of_compute_with_its_token(release: str, secret: str) -> None:
    pod = only("Deployment", "dataproc-dispatcher", release)["spec"]["template"]["spec"]
    env = env_of(pod["containers"][0])

    assert pod["containers"][0]["command"] == ["python", "-m", "jobs.dispatcher"]
    assert env["DATAPROC_RAY_DASHBOARD_URL"] == "http://dataproc-compute-head-svc.data.svc:8265"
    assert env["RAY_AUTH_MODE"] == "token"
    assert env["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": secret, "key": "auth_token"}}


@pytest.mark.parametrize(("release", "replicas"), [("defaults", 1), ("many", 2)])
def test_there_may_be_several_dispatchers(release: str, replicas: int) -> None:
    assert only("Deployment", "dataproc-dispatcher", release)["spec"]["replicas"] == replicas


def test_migrations_run_before_everything_and_need_nothing_of_the_release() -> None:
    job = only("Job", "dataproc-migrations")
    pod = job["spec"]["template"]["spec"]

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert pod["containers"][0]["command"] == ["python", "-m", "jobs.migrate"]
    assert "serviceAccountName" not in pod


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a selector of pods takes a pod with these labels."""
    return set(selector["matchLabels"].items()) <= set(labels.items())


def components_that_reach(policy: str, port: int) -> set[str]:
    """Return the components of the release whose pods a policy lets in at a port."""
    labels = [pod["metadata"]["labels"] for _, pod in pods(released("many"))]
    return {
        pod["app.kubernetes.io/component"]
        for rule in only("NetworkPolicy", policy, "many")["spec"]["ingress"]
        if "ports" not in rule or port in [entry["port"] for entry in rule["ports"]]
        for peer in rule["from"]
        for pod in labels
        if "podSelector" in peer and matches(peer["podSelector"], pod)
    }


def test_only_those_who_submit_runners_reach_the_ray_jobs_api() -> None:
    assert components_that_reach("dataproc-compute", 8265) == {"compute", "dispatcher", "api"}
    assert components_that_reach("dataproc-compute", 6379) == {"compute"}
    assert components_that_reach("dataproc-api", 8265) == {"api"}


def test_the_api_is_open_to_the_ingress_at_its_port_only() -> None:
    rules = only("NetworkPolicy", "dataproc-api", "many")["spec"]["ingress"]
    peer = MANY_VALUES["networkPolicy"]["apiFrom"][0]

    assert [rule["ports"] for rule in rules if peer in rule["from"]] == [[{"protocol": "TCP", "port": 8000}]]
    assert len(only("NetworkPolicy", "dataproc-api")["spec"]["ingress"]) == 2


def test_every_pod_is_under_a_network_policy_or_takes_no_calls() -> None:
    selectors = [found["spec"]["podSelector"] for found in released("defaults") if found["kind"] == "NetworkPolicy"]

    bare = [
        name
        for name, pod in pods(released("defaults"))
        if not any(matches(selector, pod["metadata"]["labels"]) for selector in selectors)
    ]

    assert bare == ["dataproc-migrations"]


def test_a_disruption_budget_leaves_one_api_pod_to_move() -> None:
    budget = only("PodDisruptionBudget", "dataproc-api")["spec"]

    assert budget["minAvailable"] == 1
    assert [found for found in released("many") if found["kind"] == "PodDisruptionBudget"] == []


def test_accounts_carry_the_roles_of_the_cloud() -> None:
    account = only("ServiceAccount", "dataproc-api", "many")
    named = {pod["spec"].get("serviceAccountName") for _, pod in pods(released("many"))} - {None}

    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/api"}
    assert named == {found["metadata"]["name"] for found in released("many") if found["kind"] == "ServiceAccount"}


def test_names_stay_short_enough_for_what_kuberay_appends() -> None:
    names = [found["metadata"]["name"] for found in render({}, name="a-release-with-quite-a-long-name-in-the-end")]

    assert max(map(len, names)) <= 50
