"""The house rules that no linter knows."""

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("dataproc", "serve_app", "jobs", "bench")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "core", "manager"}
LONGEST_FUNCTION = 40
LONGEST_MODULE = 300

REGISTRIES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|crates[.]io|proxy[.]golang[.]org"
    r"|(?:deb|security)[.]debian[.]org|archive[.]ubuntu[.]com|conda[.]anaconda[.]org"
)
HOMES = re.compile(r"(?<![\w.~-])(?:/(?:home|Users)/\w|/(?:root|work)/\w|[A-Z]:\\Users\\)")
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b", re.IGNORECASE)
NOQA = re.compile(r"# noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*\W+(?P<reason>\w.*)")
IGNORE = re.compile(r"# type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\]\W+(?P<reason>\w.*)")
MAKE = re.compile(r"(?:`|^\s*\$? ?|run: )make ([a-z][a-z-]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z%-]*):", re.MULTILINE)


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project that is or would be committed."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, capture_output=True, check=True, text=True).stdout.split("\0")
    return tuple(ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file())


def modules(*, with_tests: bool = False) -> list[Path]:
    """Return the Python files of the program."""
    packages = (*PACKAGES, "tests") if with_tests else PACKAGES
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in packages]


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file with its text."""
    for path in files():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def lengths_of_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of every function in a module."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_longer_than_a_screen() -> None:
    # A migration is a script that is written once and never changed: it has as many lines as it has tables.
    measured = [path for path in modules() if "migrations" not in path.parts]

    long = {name: size for path in measured for name, size in lengths_of_functions(path) if size > LONGEST_FUNCTION}

    assert long == {}


def test_no_module_is_longer_than_it_can_be_read_in_one_go() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}

    assert {name: size for name, size in sizes.items() if size > LONGEST_MODULE} == {}


def test_modules_are_named_by_what_they_are() -> None:
    names = {part for path in modules(with_tests=True) for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}

    assert names & FORBIDDEN_NAMES == set()


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    bodies = {
        path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8"))
        for path in modules(with_tests=True)
        if path.name == "__init__.py"
    }

    assert bodies
    assert [str(path) for path, tree in bodies.items() if len(tree.body) != 1 or not ast.get_docstring(tree)] == []


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every comment of a module with its line, if it switches off a rule."""
    if not SILENCED.search(path.read_text(encoding="utf-8")):
        return
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@pytest.mark.parametrize(
    ("comment", "right"),
    [
        ("# noqa: S101 - a narrowing", True),
        ("# noqa: S101, E501 - two of them", True),
        ("# noqa: S101", False),
        ("# noqa", False),
        ("# type: ignore[arg-type] # untyped", True),
        ("# type: ignore[arg-type]", False),
        ("# type: ignore # why", False),
    ],
)
def test_a_rule_switched_off_without_a_reason_is_seen(comment: str, right: bool) -> None:
    assert bool(NOQA.search(comment) or IGNORE.search(comment)) is right


def test_every_rule_switched_off_has_a_code_and_a_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in modules(with_tests=True)
        for line, text in comments(path)
        if SILENCED.search(text) and not (NOQA.search(text) or IGNORE.search(text))
    ]

    assert bare == []


@pytest.mark.parametrize("host", ["files.python" + "hosted.org", "registry.npm" + "js.org", "py" + "pi.org/simple"])
def test_the_host_of_a_registry_is_seen(host: str) -> None:
    assert REGISTRIES.search(f"https://{host}/")


def test_no_file_names_the_host_of_a_registry() -> None:
    assert [f"{path}: {found[0]}" for path, text in texts() if (found := REGISTRIES.search(text))] == []


@pytest.mark.parametrize("path", ["/" + "home/ann/x", "/" + "Users/ann", "C:" + r"\Users\ann", "/" + "root/x"])
def test_the_home_of_a_machine_is_seen(path: str) -> None:
    assert HOMES.search(f"see {path} for it")


def test_no_file_names_a_home_on_some_machine() -> None:
    assert [f"{path}: {found[0]}" for path, text in texts() if (found := HOMES.search(text))] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    named = {
        (str(path), name)
        for path, text in texts()
        if path.suffix in (".md", ".yml", ".yaml") or path.name == "run"
        for name in MAKE.findall(text)
    }

    assert {"check", "test", "demo"} <= {name for _, name in named}
    assert {use for use in named if use[1] not in targets and not use[1].startswith("bench-")} == set()


def keywords(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the keyword arguments of all calls of a module with their lines."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, word.arg) for word in node.keywords if word.arg is not None)


def test_only_the_profile_of_hypothesis_has_a_deadline() -> None:
    profile = Path("tests/conftest.py")
    tests = [path.relative_to(ROOT) for path in modules(with_tests=True) if path.is_relative_to(ROOT / "tests")]
    named = [path for path in tests if "deadline" in (ROOT / path).read_text(encoding="utf-8")]
    found = {path: [line for line, word in keywords(ROOT / path) if word == "deadline"] for path in named}

    assert len(found[profile]) == 1
    assert [f"{path}:{line}" for path, lines in found.items() for line in lines if path != profile] == []
