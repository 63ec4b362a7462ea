"""Brackets, commas and strings of JSON text that comes in parts."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

QUOTE, BACKSLASH, COMMA = ord('"'), ord("\\"), ord(",")
MARKS, STEPS = np.zeros(256, np.bool_), np.zeros(256, np.int8)
"""The characters that give a text its structure, and how each changes the depth."""
MARKS[list(b'"[]{},')] = True
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Marks:
    """Brackets and commas outside of strings: their places in a part, their characters, and the depth after each."""

    places: Places
    signs: npt.NDArray[np.uint8]
    depths: Places


@dataclass(slots=True)
class Structure:
    """Follows strings and nesting through the parts of a text."""

    depth: int = field(default=0, init=False)
    is_in_string: bool = field(default=False, init=False)
    is_escaped: bool = field(default=False, init=False)

    def marks(self, part: bytes) -> Marks:
        """Return the brackets and commas of the next part."""
        data = np.frombuffer(part, np.uint8)
        places = np.flatnonzero(MARKS[data])
        signs = data[places]
        is_quote = signs == QUOTE
        is_quote[is_quote] = ~np.isin(places[is_quote], self.escaped(data))
        is_within = (np.cumsum(is_quote) % 2 == 1) ^ self.is_in_string
        is_mark = ~is_within & (signs != QUOTE)
        self.is_in_string ^= bool(np.count_nonzero(is_quote) % 2)
        signs = signs[is_mark]
        depths = self.depth + np.cumsum(STEPS[signs], dtype=np.int64)
        if len(depths):
            self.depth = int(depths[-1])
        return Marks(places[is_mark], signs, depths)

    def escaped(self, data: npt.NDArray[np.uint8]) -> Places:
        """Return the places of the characters that a backslash stands before which is not itself escaped."""
        found = np.flatnonzero(data == BACKSLASH)
        first = np.zeros(int(self.is_escaped and len(data) > 0), np.int64)
        if len(first) and len(found) and found[0] == 0:
            found = found[1:]
        begins = np.maximum.accumulate(np.where(np.diff(found, prepend=-2) != 1, found, 0))
        places = np.concatenate([first, found[(found - begins) % 2 == 0] + 1])
        if len(data):
            self.is_escaped = bool(len(places) and places[-1] == len(data))
        return places
