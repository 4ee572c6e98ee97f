"""The report against hostile and wrong input: nothing runs, nothing leaves, nothing grows."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from tamis.errors import InputError

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


def test_sixty_examples_stay_under_five_megabytes(case, report, add_inputs, fake_pictures):
    # Noise is the worst case of every picture format.
    each = add_inputs(case(n=70, flagged=70, k=10), image=fake_pictures(70, side=300))
    assert len(report(each).html.encode()) < 5_000_000


def test_unreadable_picture_leaves_a_place_with_the_reason(
    case, report, add_inputs, fake_pictures, unreadable
):
    source = fake_pictures(40)
    source.samples[0] = unreadable(0, 'truncated <JPEG> after "713" bytes')
    page = report(add_inputs(case(), image=source))
    assert page.having("span", class_="nopicture")[0]["title"] == 'truncated <JPEG> after "713" bytes'
    assert_harmless(page)


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
