"""How numbers and foreign strings are put into words; everything here is plain text, escaped later."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from tamis.types import Estimate

UNKNOWN = "\u2013"
"""Stands where a number is not known."""

_NARROW_SPACE = "\u202f"
_JOINERS = "\u200c\u200d"  # needed by Persian, Indic scripts and emoji; they reorder nothing
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LONGEST_TITLE = 1_000


class Shown(NamedTuple):
    """A foreign string as the page shows it; ``title`` holds the longer form when ``text`` was cut."""

    text: str
    title: str = ""


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""Return ``text`` with every control, direction and zero-width character spelled out.

    Such characters can make a name read as another one. Line breaks and tabs are kept on request.

    Examples
    --------
    >>> visible("cat\u202egpj")
    'cat⟨U+202E⟩gpj'
    """
    kept = _JOINERS + "\n\t" if keep_lines else _JOINERS
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _HIDDEN and char not in kept else char
        for char in text
    )


def shown(value: object, limit: int = 48) -> Shown:
    """Return a name or an id for one line: control characters visible, cut after ``limit`` characters.

    Examples
    --------
    >>> shown("a very long class name", limit=10)
    Shown(text='a very lo…', title='a very long class name')
    """
    if value is None:
        return Shown("(no label)")
    text = str(value)
    if not text.strip():
        return Shown("(blank)" if text else "(empty)")
    if len(text) <= limit:
        return Shown(visible(text))
    return Shown(visible(text[: limit - 1]) + "…", visible(text[:_LONGEST_TITLE]))


def excerpt(text: str, limit: int, most_lines: int | None = None) -> str:
    """Return the beginning of a text, line breaks kept, runs of empty lines closed up.

    Examples
    --------
    >>> excerpt("one two three", limit=7)
    'one two …'
    """
    lines = [line.rstrip() for line in text[: 4 * limit].replace("\r\n", "\n").split("\n")]
    tidy = "\n".join(line for i, line in enumerate(lines) if line or (i and lines[i - 1])).strip()
    cut = "\n".join(tidy.split("\n")[:most_lines])[:limit].rstrip()
    is_whole = cut == tidy and len(text) <= 4 * limit
    return visible(cut, keep_lines=True) + ("" if is_whole else " …")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage; never rounds a doubt away to 0 or 100.

    Examples
    --------
    >>> [percent(p).replace("\u202f", " ") for p in (0.0, 0.0002, 0.004, 0.021, 0.9997, 1.0)]
    ['0 %', '<0.1 %', '0.4 %', '2 %', '>99.9 %', '100 %']
    """
    if not math.isfinite(share):
        return UNKNOWN
    value = 100.0 * share
    if 0.0 < value < 0.1:
        number = "<0.1"
    elif 99.9 < value < 100.0:
        number = ">99.9"
    elif 0.0 < value < 1.0 or 99.0 < value < 100.0:
        number = f"{value:.1f}"
    else:
        number = f"{value:.0f}"
    return f"{number}{_NARROW_SPACE}%"


def count(value: float) -> str:
    """Return a count or an expected count; one decimal below ten, unless it is whole.

    Examples
    --------
    >>> count(12345), count(3), count(3.26), count(811.7)
    ('12,345', '3', '3.3', '812')
    """
    if not math.isfinite(value):
        return UNKNOWN
    whole = float(value).is_integer() or value >= 9.95
    return f"{value:,.0f}" if whole else f"{value:.1f}"


def counts(values: Sequence[float]) -> list[str]:
    """Return the counts of one table column with the same number of decimals: one while all are small.

    Examples
    --------
    >>> counts([12.0, 3.26]), counts([120.4, 3.26])
    (['12.0', '3.3'], ['120', '3'])
    """
    known = [value for value in values if math.isfinite(value)]
    is_fine = max(known, default=0.0) < 20 and not all(float(value).is_integer() for value in known)
    return [UNKNOWN if not math.isfinite(value) else f"{value:,.{int(is_fine)}f}" for value in values]


def counted(value: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "label"), counted(2000, "label"), counted(2, "class", "classes")
    ('1 label', '2,000 labels', '2 classes')
    """
    return f"{value:,} {singular if value == 1 else plural or singular + 's'}"


def count_interval(estimate: Estimate) -> str:
    """Return the interval of an expected count in words, such as ``760 to 870``."""
    return f"{count(estimate.low)} to {count(estimate.high)}"


def percent_interval(estimate: Estimate) -> str:
    """Return the interval of a share in words, such as ``91 % to 97 %``; finer where the ends look alike."""
    low, high = percent(estimate.low), percent(estimate.high)
    if low == high and estimate.low != estimate.high and estimate.low > 0.001 and estimate.high < 0.999:
        low, high = (f"{100 * value:.1f}\u202f%" for value in (estimate.low, estimate.high))
    return f"{low} to {high}"
