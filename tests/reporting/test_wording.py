"""Words for numbers and foreign strings."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.reporting.wording import (
    Shown,
    count,
    count_interval,
    counted,
    counts,
    excerpt,
    percent,
    percent_interval,
    shown,
    visible,
)
from tamis.types import Estimate


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1e-9, "<0.1 %"),
        (0.0099, "1.0 %"),
        (0.0149, "1 %"),
        (0.5, "50 %"),
        (0.992, "99.2 %"),
        (0.99999, ">99.9 %"),
        (1.0, "100 %"),
        (math.nan, "\u2013"),
    ],
)
def test_percent_by_hand(share, words):
    assert percent(share).replace("\u202f", " ") == words


@given(st.floats(0, 1))
def test_percent_claims_certainty_only_where_there_is_some(share):
    words = percent(share).replace("\u202f", " ")
    assert (words == "0 %") == (share == 0.0)
    if words == "100 %":
        assert share == pytest.approx(1.0, abs=1e-12)


def test_counts_by_hand():
    assert count(811.7) == "812"
    assert count(9.96) == "10"
    assert count(math.inf) == "\u2013"
    assert counts([19.9, 0.04, math.nan]) == ["19.9", "0.0", "\u2013"]
    assert counts([3, 12]) == ["3", "12"]
    assert counts([1_000.4]) == ["1,000"]
    assert counted(1, "label") == "1 label"


def test_intervals_by_hand():
    assert count_interval(Estimate(812, 760.2, 870)) == "760 to 870"
    assert percent_interval(Estimate(0.9, 0.8, 1.0)).replace("\u202f", " ") == "80 % to 100 %"
    assert percent_interval(Estimate(0.078, 0.0751, 0.0801)).replace("\u202f", " ") == "7.5 % to 8.0 %"


@given(st.text(st.characters(codec=None), max_size=300), st.integers(2, 60))
def test_shown_is_one_line_without_hidden_characters(text, limit):
    it = shown(text, limit)
    for char in it.text + it.title:
        assert char in "\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert it.text
    it.text.encode("utf-8")


@given(st.text(max_size=100))
def test_shown_changes_nothing_that_is_plain(text):
    if text.strip() and len(text) <= 48 and visible(text) == text:
        assert shown(text) == Shown(text)


def test_shown_special_values():
    assert shown(None).text == "(no label)"
    assert shown("").text == "(empty)"
    assert shown("  ").text == "(blank)"
    assert shown(7).text == "7"
    assert shown("\U0001f469\u200d\U0001f52c").text == "\U0001f469\u200d\U0001f52c"


def test_excerpt_by_hand():
    assert excerpt("  one\r\n\n\n\ntwo  \n", 100) == "one\n\ntwo"
    assert excerpt("one\ntwo\nthree", 100, 2) == "one\ntwo …"
    assert excerpt("abcdef", 6) == "abcdef"
    assert excerpt("abcdef", 5) == "abcde …"
    assert excerpt("x" * 10_000, 10) == "x" * 10 + " …"
    assert excerpt("a\u202eb\tc", 10) == "a⟨U+202E⟩b\tc"


@given(st.text(max_size=400), st.integers(1, 100))
def test_excerpt_marks_every_cut(text, limit):
    short = excerpt(text, limit)
    if len(text.strip()) > 4 * limit and not text[: 4 * limit].isspace():
        assert short.endswith("…")
