"""The elements of an array within a JSON text, which is read in parts and never held as a whole.

What stands before and after the array is parsed by ijson, which finds it; the elements are cut out by their commas, so
that each keeps its characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NoReturn

import ijson  # type: ignore[import-untyped]  # it has no types
import numpy as np

from dataproc.domain.errors import BadDataError
from dataproc.sources.files.json_structure import COMMA, Marks, Places, Structure
from dataproc.sources.files.lines import BLOCK, BOM, LONGEST_LINE

DEEPEST = 200
LONGEST_BESIDE = 16 * 1024 * 1024
"""Bytes of a value beside the array of records; the parser takes time by the square of its length."""
PARSED = 256 * 1024
"""Bytes that are parsed at once."""
OPENING = ord("[")
NOWHERE: Places = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Elements:
    """Neighbouring elements of an array: their text, and where the commas between them stand."""

    text: bytes
    commas: Places

    def __iter__(self) -> Iterator[bytes]:
        """Yield the text of each element."""
        for before, after in pairwise(chain([-1], self.commas.tolist(), [len(self.text)])):
            yield self.text[before + 1 : after]


@dataclass(slots=True)
class Locator:
    """Parses the text around the arrays at a JSON Pointer, and finds where each begins."""

    pointer: str
    is_found: bool = field(default=False, init=False)
    events: Any = field(init=False)
    parser: Any = field(init=False)

    def __post_init__(self) -> None:
        """Start the parser."""
        self.events = ijson.sendable_list()
        self.parser = ijson.parse_coro(self.events)

    @property
    def depth(self) -> int:
        """How deep the elements of the arrays are nested."""
        return 1 + self.pointer.count("/")

    def is_begun_by(self, text: bytes) -> bool:
        """Parse the next part, and return whether an array at the pointer begins in it."""
        prefix = self.pointer.removeprefix("/").replace("/", ".")
        is_begun = False
        for at in range(0, len(text), PARSED):
            self.parser.send(text[at : at + PARSED])
            is_begun |= any(event == "start_array" and place == prefix for place, event, _ in self.events)
            self.events.clear()
        self.is_found |= is_begun
        return is_begun

    def finish(self) -> None:
        """End the text; raise where it is cut off."""
        self.parser.close()


@dataclass(slots=True)
class Held:
    """The text of elements that were read and not yet given out."""

    parts: list[bytes] = field(default_factory=list)
    commas: list[Places] = field(default_factory=list)
    size: int = 0
    begun: int = 0
    """Bytes of the element that has not ended."""

    def add(self, text: bytes, commas: Places) -> None:
        """Add text in which commas between elements stand at some places."""
        self.parts.append(text)
        self.commas.append(commas + self.size)
        self.size += len(text)
        self.begun = len(text) - int(commas[-1]) - 1 if len(commas) else self.begun + len(text)

    def taken(self) -> Elements:
        """Return everything, and hold nothing."""
        found = Elements(b"".join(self.parts), np.concatenate([NOWHERE, *self.commas]))
        self.parts, self.commas, self.size, self.begun = [], [], 0, 0
        return found

    def whole(self) -> Elements | None:
        """Return the elements that have ended, and hold the rest; `None`: none has."""
        found = self.taken()
        if not len(found.commas):
            self.add(found.text, NOWHERE)
            return None
        last = int(found.commas[-1])
        self.add(found.text[last + 1 :], NOWHERE)
        return Elements(found.text[:last], found.commas[:-1])


@dataclass(slots=True)
class ElementReader:
    """Reads the elements of the arrays at a JSON Pointer, in blocks of at least `block` bytes but for the last one.

    An element longer than `longest` bytes, or nested deeper than `deepest`, is an error.
    """

    uri: str
    pointer: str
    block: int = BLOCK // 2
    longest: int = LONGEST_LINE
    deepest: int = DEEPEST
    structure: Structure = field(default_factory=Structure, init=False)
    locator: Locator = field(init=False)
    held: Held = field(default_factory=Held, init=False)
    is_inside: bool = field(default=False, init=False)
    outside: int = field(default=0, init=False)
    beside: int = field(default=0, init=False)
    """Bytes since the last bracket or comma outside of the array: the parser holds them if they are one value."""

    def __post_init__(self) -> None:
        """Begin outside of the array."""
        self.locator = Locator(self.pointer)

    def blocks(self, parts: Iterable[bytes]) -> Iterator[Elements]:
        """Yield the elements; those before some damage come before its error."""
        try:
            for number, part in enumerate(parts):
                yield from self.completed(part if number else part.removeprefix(BOM))
            self.locator.finish()
        except ijson.JSONError:
            yield from whole_array(self.held.taken())
            raise
        except Exception:
            if (found := self.held.whole()) is not None:
                yield found
            raise
        if not self.locator.is_found:
            self.refuse_without_array("")

    def completed(self, part: bytes) -> Iterator[Elements]:
        """Yield the blocks that a part completes."""
        marks = self.structure.marks(part)
        too_deep = marks.places[marks.depths > self.deepest]
        yield from self.cut(part[: too_deep[0]] if len(too_deep) else part, marks)
        self.beside = len(part) - int(marks.places[-1]) if len(marks.places) else self.beside + len(part)
        if len(too_deep):
            self.refuse(f"objects and arrays are nested deeper than {self.deepest}; is it the right file?")
        self.demand_limits()
        if self.held.size >= self.block and (found := self.held.whole()) is not None:
            yield found

    def cut(self, part: bytes, marks: Marks) -> Iterator[Elements]:
        """Hold the elements of a part; yield those of arrays that end in it."""
        depth, at = self.locator.depth, 0
        opens = marks.places[(marks.signs == OPENING) & (marks.depths == depth)]
        closes = marks.places[marks.depths < depth]
        commas = marks.places[(marks.signs == COMMA) & (marks.depths == depth)]
        while at < len(part):
            if self.is_inside:
                stop = next_place(closes, at, len(part))
                within = commas[np.searchsorted(commas, at) : np.searchsorted(commas, stop)]
                self.held.add(part[at:stop], within - at)
                if stop < len(part):
                    self.is_inside = False
                    yield from whole_array(self.held.taken())
            else:
                stop = min(next_place(opens, at, len(part)) + 1, len(part))
                self.is_inside = self.locator.is_begun_by(part[at:stop])
                self.outside += stop - at
            at = stop

    def demand_limits(self) -> None:
        """Raise for text that would take too much memory."""
        size = f"{self.longest >> 20} MiB"
        if self.held.begun > self.longest:
            self.refuse(f"a record is longer than {size}; is it the right file?")
        if not self.is_inside and self.beside > LONGEST_BESIDE:
            self.refuse(f"a value is longer than {LONGEST_BESIDE >> 20} MiB; is it the right file?")
        if self.outside > self.longest and not self.locator.is_found:
            self.refuse_without_array(f" in the first {size}")

    def refuse_without_array(self, where: str) -> NoReturn:
        """Raise for a text that has no array at the pointer."""
        place = f"at {self.pointer!r}" if self.pointer else "in the file itself"
        self.refuse(f"there is no array {place}{where}; give its JSON Pointer as `records`, or set `format: jsonl`")

    def refuse(self, problem: str) -> NoReturn:
        """Raise for a file that cannot be read."""
        raise BadDataError(f"{self.uri}: {problem}", uri=self.uri)


def whole_array(rest: Elements) -> Iterator[Elements]:
    """Yield the last elements of an array unless it is empty."""
    if len(rest.commas) or rest.text.strip():
        yield rest


def next_place(places: Places, at: int, end: int) -> int:
    """Return the first of some ascending places that is not before `at`; `end` where there is none."""
    found = int(np.searchsorted(places, at))
    return int(places[found]) if found < len(places) else end
