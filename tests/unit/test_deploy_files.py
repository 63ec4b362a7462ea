"""Image, compose file and workflows: right for their own linters and schemas, without any network."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCHEMAS = files("check_jsonschema.builtin_schemas.vendor")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
REQUIRED_VARIABLE = re.compile(r"\$\{(?P<name>\w+):\?[^}]+\}")


def run(*command: str | Path, given: str | None = None) -> str:
    """Return what a linter says; empty when all is well."""
    end = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, input=given)
    return "" if end.returncode == 0 else end.stdout + end.stderr


def document(name: str | Path) -> dict[str, object]:
    """Return a YAML file; `on` stays a word."""
    loaded = yaml.load((ROOT / name).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - makes only text
    assert isinstance(loaded, dict)
    return loaded


def errors_against(schema_name: str, value: object) -> list[str]:
    """Return what a vendored schema says against a value."""
    schema = json.loads(SCHEMAS.joinpath(f"{schema_name}.json").read_text(encoding="utf-8"))
    validator = validator_for(schema, default=Draft7Validator)(schema)
    plain = json.loads(json.dumps(value))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(plain)]


def instructions() -> list[str]:
    """Return the instructions of the Dockerfile, one a line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_dockerfile_is_lint_free() -> None:
    assert run(BIN / "hadolint", "--no-color", ROOT / "Dockerfile") == ""


def test_the_linter_of_dockerfiles_sees_a_fault() -> None:
    assert "DL3006" in run(BIN / "hadolint", "--no-color", "-", given="FROM python\n")


def test_the_image_does_not_run_as_root() -> None:
    user = [line.split()[1] for line in instructions() if line.startswith("USER ")][-1]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_image_installs_dependencies_by_hash_and_before_the_code() -> None:
    lines = instructions()
    installs = [i for i, line in enumerate(lines) if "pip install" in line and "-r requirements" in line]
    code = lines.index("COPY dataproc dataproc")

    assert installs
    assert all("--require-hashes" in lines[i] and i < code for i in installs)


def test_the_image_holds_only_what_it_is_built_from() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    taken = {line[1:] for line in lines if line.startswith("!")}
    copied = {word for line in instructions() if re.match(r"COPY (?!--from)", line) for word in line.split()[1:-1]}

    assert lines[1] == "*"
    assert taken == copied


def test_compose_keeps_to_its_specification() -> None:
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

    assert errors_against("compose-spec", loaded) == []


def test_the_specification_of_compose_sees_a_fault() -> None:
    assert errors_against("compose-spec", {"services": {"app": {"imagee": "x"}}})


def test_compose_has_no_password_of_its_own() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    secret = re.compile(r"(PASSWORD|ACCESS_KEY\w*): *(?P<value>.+)|postgresql://\w+:(?P<inline>[^@]+)@")

    values = [match["value"] or match["inline"] for match in secret.finditer(text)]

    assert len(values) >= 4
    assert [value for value in values if not REQUIRED_VARIABLE.fullmatch(value)] == []


def test_compose_publishes_ports_to_this_machine_only() -> None:
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

    ports = [port for service in loaded["services"].values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_everything_that_compose_keeps_running_tells_its_health() -> None:
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

    lasting = {name: service for name, service in loaded["services"].items() if service["restart"] != "no"}

    assert set(lasting) == {"postgres", "s3", "app"}
    assert all("healthcheck" in service for service in lasting.values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_keeps_to_its_specification(path: Path) -> None:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8").replace("\non:\n", '\n"on":\n'))

    assert errors_against("github-workflows", loaded) == []


def test_the_specification_of_workflows_sees_a_fault() -> None:
    assert errors_against("github-workflows", {"on": "push", "jobs": {"a": {"steps": [{"run": "make"}]}}})


def test_dependabot_keeps_to_its_specification() -> None:
    assert errors_against("dependabot", yaml.safe_load((ROOT / ".github/dependabot.yml").read_text("utf-8"))) == []


def test_the_workflows_have_no_known_weakness() -> None:
    assert run(BIN / "zizmor", "--offline", "--no-progress", "--persona=pedantic", ROOT / ".github") == ""


def test_the_audit_of_workflows_sees_a_weakness(tmp_path: Path) -> None:
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    weak = tmp_path / ".github/workflows/weak.yml"
    weak.parent.mkdir(parents=True)
    weak.write_text(text.replace("  pull_request:", "  pull_request_target:"), encoding="utf-8")

    assert "dangerous-triggers" in run(BIN / "zizmor", "--offline", "--no-progress", tmp_path)


def test_the_workflow_runs_the_same_targets_on_every_python_we_promise() -> None:
    loaded = document(WORKFLOWS[0].relative_to(ROOT))
    text = json.dumps(loaded)

    assert '"make check"' in text
    assert '"make test"' in text
    assert '"python": ["3.11", "3.12"]' in text


def test_the_hooks_before_a_commit_are_well_formed() -> None:
    assert run(sys.executable, "-m", "pre_commit", "validate-config", ROOT / ".pre-commit-config.yaml") == ""
