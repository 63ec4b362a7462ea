"""The lock files: exact, hashed, without the address of any registry, and in step with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("dev",)}
REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)")


def requirements(lock: str) -> list[str]:
    """Return the requirements of a lock file, each with its hashes on one line."""
    lines = (line for line in (ROOT / lock).read_text(encoding="utf-8").splitlines() if not re.match(r"\s*#", line))
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: str) -> dict[str, list[str]]:
    """Return the versions that a lock file pins, by name; markers may split a name into several."""
    found: dict[str, list[str]] = {}
    for entry in requirements(lock):
        match = REQUIREMENT.match(entry)
        assert match, entry
        found.setdefault(canonicalize_name(match["name"]), []).append(match["version"])
    return found


def asked_for(extras: tuple[str, ...]) -> list[Requirement]:
    """Return what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [Requirement(text) for text in (*project["dependencies"], *optional)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")

    assert re.findall(r"https?://\S+|--(?:extra-)?index-url\S*|--find-links\S*|^-[ief]\b.*", text, re.MULTILINE) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_a_lock_is_exact_and_hashed(lock: str) -> None:
    entries = requirements(lock)

    assert len(entries) > 20
    assert [entry for entry in entries if not REQUIREMENT.match(entry)] == []
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_a_lock_pins_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    pinned = pins(lock)

    wrong = [
        str(requirement)
        for requirement in asked_for(extras)
        if not any(
            requirement.specifier.contains(version, prereleases=True)
            for version in pinned.get(canonicalize_name(requirement.name), [])
        )
    ]

    assert wrong == [], "write the locks anew: make lock"


def test_the_lock_for_developers_holds_every_pin_of_the_other() -> None:
    developers = pins("requirements-dev.lock")

    assert {name for name, versions in pins("requirements.lock").items() if developers.get(name) != versions} == set()
