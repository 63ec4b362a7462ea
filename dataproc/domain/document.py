"""Specifications as people write them: a YAML or JSON document in, a `JobSpec` or every mistake out."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from dataproc.domain.errors import InvalidSpecError, Problem
from dataproc.domain.nesting import TOO_DEEP, too_deep
from dataproc.domain.schema import Schema, child, field_names, path_in_document
from dataproc.domain.spec import JobSpec

LARGEST = 1_000_000
"""Characters that a document may have."""

TAG = "tag:yaml.org,2002:"

FIXED_MESSAGES = {
    "union_tag_not_found": "'kind' is missing: add it, to say which kind this is",
    "model_type": "must be a mapping of fields to values",
    "dict_type": "must be a mapping of names to values",
    "string_type": "must be text: put it in quotes",
    "time_delta_parsing": "must be a length of time, such as 500ms, 30s, 5m or 1h30m",
    "time_delta_type": "must be a length of time, such as 500ms, 30s, 5m or 1h30m",
}
"""What to say of a mistake of which pydantic says less."""

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a document, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """The places of a document's keys and values, by JSON pointer, and the mistakes met while reading it."""

    keys: dict[str, Place] = field(default_factory=dict)
    values: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def read(self, node: Node, pointer: str = "") -> Value:
        """Return the value of a node; remember where it and everything below it stand."""
        self.values[pointer] = place_of(node)
        # An alias is the same node met again; written out, a few of them make a document without end.
        if id(node) in self.seen:
            self.refuse(node, pointer, "aliases (*name) are not read: write the value out")
            return None
        self.seen.add(id(node))
        match node:
            case MappingNode():
                return self.read_mapping(node, pointer)
            case SequenceNode():
                return [self.read(item, f"{pointer}/{i}") for i, item in enumerate(node.value)]
            case ScalarNode():
                return self.read_scalar(node, pointer)
            case _:
                raise TypeError(node)

    def read_mapping(self, node: MappingNode, pointer: str) -> dict[str, Value]:
        """Return the fields of a mapping; a key counts as text, as it does in JSON."""
        fields: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag == f"{TAG}merge":
                self.refuse(key, pointer, "a key must be plain text: write its fields out here")
                continue
            name = str(self.read_scalar(ScalarNode(f"{TAG}str", key.value, key.start_mark), pointer))
            below = pointer + pointer_of([name])
            if name in fields:
                self.refuse(key, below, f"{name!r} is written twice: keep one of them")
            self.keys[below] = place_of(key)
            fields[name] = self.read(value, below)
        return fields

    def read_scalar(self, node: ScalarNode, pointer: str) -> Value:
        """Return text, a number, a truth value or nothing; dates stay text, as in JSON."""
        try:
            return scalar(node)
        except ValueError as exc:
            self.refuse(node, pointer, str(exc))
            return None

    def refuse(self, node: Node, pointer: str, message: str) -> None:
        """Note a mistake."""
        self.problems.append(located(Problem(pointer, message), place_of(node)))

    def locate(self, problem: Problem, *, of_key: bool) -> Problem:
        """Return a problem with its line and column; what is missing is shown at its parent."""
        if of_key and problem.pointer in self.keys:
            return located(problem, self.keys[problem.pointer])
        pointer = problem.pointer
        while pointer not in self.values:
            pointer = pointer.rpartition("/")[0]
        return located(problem, self.values[pointer])


def read_spec(text: str) -> JobSpec:
    """Return the specification written in a YAML or JSON document, or raise `InvalidSpecError` with every mistake."""
    document = Document()
    value = value_of(document, text)
    try:
        return JobSpec.model_validate(value)
    except ValidationError as exc:
        found = merged(described(exc, JobSpec))
        raise invalid([document.locate(p, of_key=of_key) for p, of_key in found]) from exc


def read_document(text: str) -> Value:
    """Return the value that a YAML or JSON document holds, or raise `InvalidSpecError` with every mistake."""
    return value_of(Document(), text)


def value_of(document: Document, text: str) -> Value:
    """Return the value of a text; `document` remembers where its parts stand."""
    value = document.read(compose(text))
    if document.problems:
        raise invalid(document.problems)
    return value


def problems_of(
    error: ValidationError, pointer_prefix: str = "", *, model: type[BaseModel] = JobSpec
) -> tuple[Problem, ...]:
    """Return what is wrong with a value that `model` refused, each with the JSON pointer below `pointer_prefix`."""
    found = merged(described(error, model))
    return tuple(replace(problem, pointer=pointer_prefix + problem.pointer) for problem, _ in found)


def compose(text: str) -> Node:
    """Return the tree of a document, or raise `InvalidSpecError` with the place where it cannot be read."""
    if len(text) > LARGEST:
        message = f"the document has {len(text):,} characters: at most {LARGEST:,} are read"
        raise invalid([Problem("", message)])
    if (position := too_deep(text)) is not None:
        raise invalid([problem_at(TOO_DEEP, text, position)])
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as exc:
        raise invalid([syntax_problem(exc, text)]) from exc
    except RecursionError as exc:
        raise invalid([Problem("", TOO_DEEP)]) from exc
    if not isinstance(node, Node):
        raise invalid([Problem("", "the document is empty: write a job with name, source and destination", 1, 1)])
    return node


def problem_at(message: str, text: str, position: int) -> Problem:
    """Return the problem with the line and the column of a character."""
    return Problem("", message, text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


def syntax_problem(error: YAMLError, text: str) -> Problem:
    """Return why a document is neither YAML nor JSON."""
    match error:
        case MarkedYAMLError(problem_mark=mark) if mark is not None:
            message = f"this is no YAML or JSON: {error.problem}"
            return Problem("", message, mark.line + 1, mark.column + 1)
        case ReaderError(position=int(position)):
            return problem_at("this character may not stand in a document: remove it", text, position)
        case _:
            return Problem("", "this is no YAML or JSON: check the document")


def scalar(node: ScalarNode) -> Value:
    """Return the value of a scalar, or raise `ValueError` for what JSON has no word for."""
    text = node.value
    tag = str(node.tag)
    match tag.removeprefix(TAG):
        case "str" | "timestamp" | "value":
            return joined(text)
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int":
            return integer(text.replace("_", ""))
        case "float":
            return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            msg = f"the tag {tag.replace(TAG, '!!')} is not read: write a plain value"
            raise ValueError(msg)


def integer(text: str) -> int:
    """Return a whole number, as YAML 1.2 writes it."""
    try:
        return int(text, 0) if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(text)
    except ValueError as exc:
        msg = f"{text[:40]!r} is no whole number that can be read: put it in quotes if it is text"
        raise ValueError(msg) from exc


def joined(text: str) -> str:
    """Return `text` with the halves of characters that JSON escapes in two put together."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as exc:
        msg = "half a character (a lone surrogate) stands here: write the whole character"
        raise ValueError(msg) from exc


def described(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Problem, bool]]:
    """Yield each mistake, and whether it is the key that is wrong."""
    for details in error.errors(include_url=False):
        path = list(path_in_document(model, details["loc"]))
        steps = [step for step, _ in path]
        if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
            steps.append(details["ctx"]["discriminator"].strip("'"))
        parent: Schema = path[-1][1] if path else {}
        of_key = details["type"] == "extra_forbidden" or details["loc"][-1:] == ("[key]",)
        yield Problem(pointer_of(steps), message_of(details, parent)), of_key


def message_of(details: ErrorDetails, parent: Schema) -> str:
    """Return what is wrong and what to do."""
    name = str(details["loc"][-1]) if details["loc"] else ""
    context: Mapping[str, object] = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return f"{name!r} is missing: add it"
        case "extra_forbidden":
            return unknown_field(name, field_names(parent))
        case "union_tag_invalid":
            return f"must be one of {context['expected_tags']}, not {str(context['tag'])[:40]!r}"
        case "string_pattern_mismatch":
            return f"{plain(details['msg'])}{example_of(parent, name)}"
        case kind:
            return FIXED_MESSAGES.get(kind) or plain(details["msg"])


def example_of(parent: Schema, name: str) -> str:
    """Return what a right value looks like, if the schema shows one."""
    match child(parent, name):
        case {"examples": [example, *_]}:
            return f", such as {example!r}"
        case _:
            return ""


def plain(message: str) -> str:
    """Return pydantic's words in the manner of ours."""
    message = message.removeprefix("Value error, ")
    for theirs in ("Input should ", "String should ", "Value should ", "List should ", "Tuple should "):
        message = message.replace(theirs, "must ")
    return message


def unknown_field(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of a field that does not exist."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}" if known else "remove it"
    return f"unknown field {name[:40]!r}: {hint}"


def merged(found: Iterable[tuple[Problem, bool]]) -> list[tuple[Problem, bool]]:
    """Return one problem a pointer: each member of a union gives its own reason, and the deepest one tells most."""
    by_pointer: dict[str, tuple[Problem, bool]] = {}
    for problem, of_key in found:
        before = by_pointer.get(problem.pointer)
        message = f"{before[0].message}, or {problem.message}" if before else problem.message
        by_pointer[problem.pointer] = (replace(problem, message=message), of_key)
    deeper = {p[:i] for p in by_pointer for i, char in enumerate(p) if char == "/"}
    return [found for pointer, found in by_pointer.items() if pointer not in deeper]


def invalid(problems: Sequence[Problem]) -> InvalidSpecError:
    """Return the error that says how many mistakes there are, and which is the first."""
    first = problems[0]
    where = ", ".join(part for part in (first.pointer, f"line {first.line}" if first.line else "") if part)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidSpecError(f"{where}: {first.message}{more}" if where else first.message + more, tuple(problems))


def pointer_of(steps: Iterable[int | str]) -> str:
    """Return the JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def place_of(node: Node) -> Place:
    """Return where a node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def located(problem: Problem, place: Place) -> Problem:
    """Return `problem` with its place."""
    return replace(problem, line=place.line, column=place.column)
