"""Tokens: another text of the same format for each text, always the same one, and never one for two texts.

Digits become digits, letters become letters of the same case, all else stays. The left and the right half of a text,
each taken as one number, are mixed with a keyed function of the other half, ten times (the construction of NIST's FF1,
with BLAKE2b in place of AES-CBC and a number of its own for each place). Letters and digits beyond ASCII become ASCII,
so that the tokens of two texts with such letters may be the same.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import prod
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells

ROUNDS = 10
SPARE = 16
"""Bytes by which a number is longer than it need be, so that what is left of it by a division is even."""
FIRST_DIGIT = digits[1:]


class Place(NamedTuple):
    """A character that is replaced: where, by which ones, and the number that it stands for."""

    at: int
    alphabet: str
    number: int


def tokens(values: Cells, key: bytes) -> Cells:
    """Return the tokens of texts or whole numbers, none of which is null."""
    tokeniser = Tokeniser(key)
    found: list[Any] = values.to_pylist()
    if t.is_integer(values.type):
        low, high = limits(values.type)
        return pa.array([tokeniser.number(value, low, high) for value in found], values.type)
    return pa.array([tokeniser.text(value) for value in found], pa.string())


def limits(dtype: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest value of a type of whole numbers."""
    bits = dtype.bit_width
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if t.is_signed_integer(dtype) else (0, 2**bits - 1)


@dataclass(frozen=True, slots=True)
class Tokeniser:
    """Makes tokens with one key."""

    key: bytes = field(repr=False)

    def text(self, text: str) -> str:
        """Return the token of a text."""
        found = [(at, meaning) for at, char in enumerate(text) if (meaning := meaning_of(char))]
        return self.mixed(text, [Place(at, *meaning) for at, meaning in found])

    def number(self, value: int, low: int, high: int) -> int:
        """Return the token of a whole number: as many digits, the same sign, and within its type."""
        token = value
        while True:
            text = str(abs(token))
            places = [Place(at, digits, int(char)) for at, char in enumerate(text)]
            if len(text) > 1 or value < 0:
                places[0] = Place(0, FIRST_DIGIT, int(text[0]) - 1)
            token = int(self.mixed(text, places)) * (-1 if value < 0 else 1)
            # Beyond the type: on along the circle that tokens of tokens make, which comes back to what is within.
            if low <= token <= high:
                return token

    def mixed(self, text: str, places: Sequence[Place]) -> str:
        """Return a text with other characters at `places`."""
        if not places:
            return text
        middle = len(places) // 2
        halves = [places[:middle], places[middle:]]
        sizes = [prod(len(place.alphabet) for place in half) for half in halves]
        numbers = [number_of(half) for half in halves]
        seed = blake2b(formed(text, places), key=self.key)
        for turn, (here, there) in enumerate([(turn % 2, 1 - turn % 2) for turn in range(ROUNDS)]):
            numbers[here] = (numbers[here] + drawn(seed.copy(), turn, numbers[there], sizes[here])) % sizes[here]
        chars = list(text)
        for half, number in zip(halves, numbers, strict=True):
            write(chars, half, number)
        return "".join(chars)


def drawn(seed: blake2b, turn: int, other: int, size: int) -> int:
    """Return a number, evenly below `size` once divided by it, that only the seed and the other half tell."""
    seed.update(bytes([turn]) + other.to_bytes((other.bit_length() + 7) // 8, "big"))
    found = seed.digest()
    while len(found) < size.bit_length() // 8 + SPARE:
        seed.update(found)
        found += seed.digest()
    return int.from_bytes(found, "big")


@lru_cache(maxsize=4096)
def meaning_of(char: str) -> tuple[str, int] | None:
    """Return the characters by which one is replaced, and its number among them; `None`: it stays."""
    if char.isdecimal():
        return digits, unicodedata.decimal(char)
    if not char.isalpha():
        return None
    alphabet = ascii_uppercase if char.isupper() else ascii_lowercase
    number = alphabet.find(char)
    return alphabet, ord(char) % len(alphabet) if number < 0 else number


def formed(text: str, places: Sequence[Place]) -> bytes:
    """Return the format of a text: what stays, and which alphabet has each place that does not."""
    chars = list(text)
    for place in places:
        chars[place.at] = place.alphabet[0]
    form = "".join(chars).encode()
    return len(form).to_bytes(8, "big") + form


def number_of(places: Sequence[Place]) -> int:
    """Return what places stand for as one number."""
    number = 0
    for place in places:
        number = number * len(place.alphabet) + place.number
    return number


def write(chars: list[str], places: Sequence[Place], number: int) -> None:
    """Write a number into places."""
    for place in reversed(places):
        number, at = divmod(number, len(place.alphabet))
        chars[place.at] = place.alphabet[at]
