"""How deep the brackets of a document are nested, before a parser reads it."""

import re

DEEPEST = 100
"""Brackets that may be open at once; the time of the parser grows with the square of their number."""
TOO_DEEP = "the document is nested too deeply: a job needs no more than ten levels"
BRACKETS = re.compile(r"[\[\]{}]")


def too_deep(text: str) -> int | None:
    """Return the position where too many brackets are open, those in strings among them; `None`: nowhere."""
    depth = 0
    for bracket in BRACKETS.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(depth - 1, 0)
        if depth > DEEPEST:
            return bracket.start()
    return None
