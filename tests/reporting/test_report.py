"""The report as a whole: what it says, what it may not hold, what it survives."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.issues.schema import ISSUE_TYPES
from tamis.types import Estimate

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}",
    "{{ 7 * 191 }}",
    "cat\u202egpj.exe",
    "x" * 5_000,
    "nul\x00\x1b[31m",
    "javascript:alert(1)",
)
ALLOWED_TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "header",
        "p",
        "bdi",
        "h1",
        "h2",
        "h3",
        "dl",
        "div",
    ),
    *(
        "dt",
        "dd",
        "aside",
        "ul",
        "li",
        "details",
        "summary",
        "nav",
        "main",
        "section",
        "article",
        "span",
        "table",
    ),
    *(
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "rect",
        "picture",
        "source",
        "img",
        "pre",
        "code",
    ),
}


def assert_harmless(page):
    """No script, no handler, no inline style, no form, no address outside of the file."""
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "srcset", "action", "xlink:href", "data", "poster"}:
                assert re.match(r"#\w+$|data:image/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/=]+$", value), (
                    tag,
                    name,
                )
    css = re.search(r"<style>(.*?)</style>", page.html, re.DOTALL)[1]
    assert "url(" not in css
    assert "@import" not in css


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


def test_policy_forbids_everything_but_the_own_style_and_pictures(case, report):
    page = report(case())
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    css = re.search(r"<style>(.*?)</style>", page.html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert_harmless(page)


def test_policy_stands_before_the_style(case, report):
    html = report(case()).html
    assert html.index("Content-Security-Policy") < html.index("<style>")


@pytest.mark.parametrize("kind", ["text", "image", "none"])
def test_hostile_names_are_shown_and_not_obeyed(case, report, add_inputs, fake_input, fake_pictures, kind):
    n = 45
    each = case(
        n=n,
        names=HOSTILE,
        ids=[f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(n)],
        flagged=30,
        reason=[HOSTILE[i % len(HOSTILE)] if i < 9 else None for i in range(n)],
        is_unreadable_issue=[i < 9 for i in range(n)],
        is_small_class_issue=[i > 9 for i in range(n)],
        is_outlier_issue=[i % 2 == 0 for i in range(n)],
        is_conflicting_duplicate_issue=[i < 12 for i in range(n)],
        is_split_leak_issue=[i < 12 for i in range(n)],
        duplicate_group=[i // 3 if i < 12 else None for i in range(n)],
    )
    each.summary = replace(
        each.summary,
        notes=HOSTILE,
        not_assessed=dict.fromkeys(HOSTILE, 1),
        timings=dict.fromkeys(HOSTILE, 0.5),
    )
    each.source = HOSTILE[1]
    if kind == "text":
        add_inputs(each, text=fake_input("text", [HOSTILE[i % len(HOSTILE)] for i in range(n)]))
    elif kind == "image":
        add_inputs(each, image=fake_pictures(n))
    page = report(each)
    assert_harmless(page)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 191 }}" in page.text
    assert "1337" not in page.text
    assert "cat⟨U+202E⟩gpj.exe" in page.text
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b]", page.html)
    assert max(map(len, page.texts)) < 3_200


def test_long_names_are_cut_and_kept_in_the_title(case, report):
    name = "a long name " * 20
    page = report(case(names=(name, "dog")))
    assert name not in page.text
    assert any(attributes["title"] == name for attributes in page.having("bdi") if "title" in attributes)


def test_unpaired_surrogates_in_a_path_can_be_written(case, report):
    each = case()
    each.source = "data/\udcff.csv"
    assert "⟨U+DCFF⟩" in report(each).text


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


def test_sixty_examples_stay_under_five_megabytes(case, report, add_inputs, fake_pictures):
    # Noise is the worst case of every picture format.
    each = add_inputs(case(n=70, flagged=70, k=10), image=fake_pictures(70, side=300))
    assert len(report(each).html.encode()) < 5_000_000


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


def test_unreadable_picture_leaves_a_place_with_the_reason(
    case, report, add_inputs, fake_pictures, unreadable
):
    source = fake_pictures(40)
    source.samples[0] = unreadable(0, 'truncated <JPEG> after "713" bytes')
    page = report(add_inputs(case(), image=source))
    assert page.having("span", class_="nopicture")[0]["title"] == 'truncated <JPEG> after "713" bytes'
    assert_harmless(page)


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
    assert "tamis export 'a b/run' --to csv" in report(each, run=tmp_path.parent / "x").text.replace(
        str(tmp_path.parent / "x"), "'a b/run'"
    )
    (tmp_path / "issues.parquet").touch()
    assert f"tamis export {tmp_path} --to csv" in report(each).text


def test_seed_and_versions_are_recorded(case, report):
    page = report(case(), random_state=41)
    assert "Seed 41" in page.text
    assert "torch" in page.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbors": np.zeros((3, 2), dtype=int)}, r"neighbors has shape \(3, 2\).*\(40, k\)"),
        ({"neighbors": np.full((40, 2), 40)}, "from 40 to 40; legal are 0 to 39"),
        ({"n_examples": -1}, "n_examples is -1"),
    ],
)
def test_wrong_arguments_are_refused(case, report, change, message):
    each = case()
    each.neighbors = change.pop("neighbors", each.neighbors)
    with pytest.raises(InputError, match=message):
        report(each, **change)


def test_data_of_another_length_are_refused(case, report, add_inputs):
    each = add_inputs(case(n=40))
    each.issues = each.issues.slice(0, 39)
    each.neighbors = None
    with pytest.raises(InputError, match="dataset has 40 rows but issues has 39"):
        report(each)


def test_table_without_a_column_is_refused(case, report):
    each = case()
    each.issues = each.issues.drop_columns(["rank"])
    with pytest.raises(InputError, match=r"lacks the columns \['rank'\]"):
        report(each)


def test_failure_leaves_the_old_report(case, report, add_inputs, fake_pictures, tmp_path):
    (tmp_path / "report.html").write_text("old")
    source = fake_pictures(40)
    source.samples[0] = None
    with pytest.raises(AttributeError):
        report(add_inputs(case(), image=source))
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
