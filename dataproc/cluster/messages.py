"""Messages of Ray: long texts with colours, whose last line is the error."""

import re

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def last_line(message: str) -> str:
    """Return the last line with characters, without colours; empty where there is none."""
    return COLOURS.sub("", message).strip().rpartition("\n")[2].strip()
