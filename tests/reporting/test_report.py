"""The report as a whole: what it says, and what it makes of odd audits."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tamis.issues.schema import ISSUE_TYPES
from tamis.types import Estimate


def test_numbers_that_matter_come_first(case, report):
    each = case(n=200, flagged=12)
    each.summary = replace(each.summary, expected_wrong=Estimate(81.2, 76.0, 87.0))
    page = report(each)
    assert "About 81 of 200 labels are probably wrong" in page.text
    assert "95 % interval 76 to 87" in page.text
    assert "12 label score below 0.15" in page.text.replace("flagged ", "")
    assert "of the flagged are wrong 92 % expected; 85 % to 97 %" in page.text
    assert "of the first 30 are wrong 60 %" in page.text
    assert (
        page.text.index("About 81") < page.text.index("The worst labels") < page.text.index("Classes Class")
    )


def test_gallery_shows_what_speaks_for_the_suggestion(case, report, add_inputs, fake_pictures):
    page = report(add_inputs(case(flagged=20), image=fake_pictures(40)))
    assert len(page.having("article")) == 20
    assert len(page.having("article", class_="unflagged")) == 0
    # One picture and four neighbours a card, and the histogram.
    assert len(page.having("img")) == 20 * 5 + 1
    assert "2 % likely right" in page.text
    assert "Of the 4 nearest samples, 2 carry the suggested label, 1 the given one" in page.text
    assert all(attributes["alt"] for attributes in page.having("img"))


def test_examples_beyond_the_first_two_dozen_are_folded(case, report):
    page = report(case(n=100, flagged=50), n_examples=40)
    assert len(page.having("article")) == 40
    assert "Show 16 more" in page.text
    assert "The first 40 of 50 flagged labels" in page.text


def test_same_input_gives_the_same_bytes(case, report, add_inputs, fake_pictures):
    each = add_inputs(case(), image=fake_pictures(40))
    assert report(each).html == report(each).html


def test_only_pictures_on_the_page_are_decoded(case, report, add_inputs, fake_pictures):
    source = fake_pictures(500)
    report(add_inputs(case(n=500, flagged=3), image=source))
    assert source.n_reads <= 12 * 5


def test_unknown_number_is_said_to_be_unknown(case, report):
    each = case()
    each.summary = replace(
        each.summary,
        expected_wrong=None,
        noise_rate=None,
        flag_precision=None,
        precision_at={},
        transition=None,
        class_prior=None,
        classes=tuple(replace(c, expected_wrong=None, confused_with=None) for c in each.summary.classes),
        notes=("The probabilities were given without labels to compare them with.",),
    )
    page = report(each)
    assert "How many of 40 labels are wrong cannot be known" in page.text
    assert "The notes below say why" in page.text
    assert "without labels to compare" in page.text
    assert "How classes are confused was not estimated" in page.text
    assert "likely right" not in page.text
    assert "label score 0.020" in page.text
    assert "nan" not in page.text.lower().split()


def test_no_flag(case, report):
    each = case(flagged=0)
    page = report(each)
    assert "No label is below the flag threshold" in page.text
    assert len(page.having("article", class_="unflagged")) == 12


def test_hardly_any_wrong(case, report):
    each = case()
    each.summary = replace(each.summary, expected_wrong=Estimate(0.2, 0.0, 1.4))
    assert "Hardly any of 40 labels is wrong 95 % interval 0 to 1.4" in report(each).text


def test_nothing_assessed(case, report):
    n = 8
    nothing = dict.fromkeys(
        ("label_score", "suggested_label", "rank", "alternative_labels", "alternative_probs"), [None] * n
    )
    each = case(n=n, flagged=0, is_assessed=[False] * n, reason=["class has 2 rows"] * n, **nothing)
    each.summary = replace(
        each.summary,
        n_assessed=0,
        expected_wrong=None,
        noise_rate=None,
        flag_precision=None,
        precision_at={},
        transition=None,
        class_prior=None,
        not_assessed={"class has 2 rows": n},
    )
    page = report(each)
    assert "None of 8 labels could be assessed" in page.text
    assert "class has 2 rows 8" in page.text
    assert "There is nothing to show" in page.text
    assert "No label has a score" in page.text


def test_one_class(case, report):
    page = report(case(names=("only",)))
    assert page.having("article")
    assert not page.having("table", class_="heat")


def test_integer_labels(case, report):
    page = report(case(names=(7, 3, 11)))
    assert page.having("table", class_="heat")
    assert "given 7 suggested 3" in page.text


def test_three_hundred_classes(case, report):
    page = report(case(n=900, names=tuple(f"class-{c}" for c in range(300))))
    assert "The worst 50 of 300 classes" in page.text
    assert not page.having("table", class_="heat")
    assert "The strongest confusions" in page.text
    assert len(page.html) < 600_000


def test_empty_audit_of_no_rows(case, report):
    each = case(n=0, flagged=0)
    each.summary = replace(each.summary, classes=(), transition=None, class_prior=None, precision_at={})
    page = report(each)
    assert "No sample carries a label" in page.text


def test_without_neighbors_and_with_missing_ones(case, report):
    each = case(flagged=20)
    each.neighbors = None
    assert "nearest sample" not in report(each).text
    each.neighbors = np.full((40, 3), -1)
    assert "nearest sample" not in report(each).text
    each.neighbors[0, 1] = 1
    assert "Of the nearest sample, 1 carry" in report(each).text


def test_unreadable_and_empty_texts(case, report, add_inputs, fake_input, unreadable):
    source = fake_input("text", ["", unreadable(1, "not UTF-8"), *["some words"] * 38])
    page = report(add_inputs(case(), text=source))
    assert "(empty text)" in page.text
    assert "(not readable: not UTF-8)" in page.text


def test_every_issue_type_has_its_row_and_meaning(case, report):
    page = report(case())
    for issue in ISSUE_TYPES:
        assert issue.title in page.text
        assert issue.description.replace("`", "") in page.text


def test_headings_tables_and_keyboard(case, report):
    page = report(case())
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in {"row", "col"} for attributes in page.having("th"))
    targets = {attributes["href"][1:] for attributes in page.having("a")}
    assert targets <= {attributes.get("id") for _, attributes in page.tags}
    assert all("tabindex" in each for each in page.having("div", class_="scroll"))
    assert page.having("html")[0]["lang"] == "en"


def test_next_command_names_the_run(case, report, tmp_path):
    each = case()
    assert "tamis export RUN --to csv" in report(each).text
    assert "tamis export 'a b/run' --to csv" in report(each, run=Path("a b/run")).text
    (tmp_path / "issues.parquet").touch()
    assert f"tamis export {tmp_path} --to csv" in report(each).text


def test_seed_and_versions_are_recorded(case, report):
    page = report(case(), random_state=41)
    assert "Seed 41" in page.text
    assert "torch" in page.text
