"""Examples of issues beside wrong labels."""

from __future__ import annotations

from dataclasses import replace

from tamis.reporting.other_issues import issue_sections
from tamis.reporting.samples import SampleReader


def sections_of(case):
    found = issue_sections(SampleReader(case.issues, case.dataset), case.issues, case.summary)
    return {section.name: section for section in found}


def groups_of(section):
    return [[example.sample.id.text for example in group] for group in section.groups]


def test_conflicting_labels_stand_side_by_side(case):
    # Rows 0, 3, 6, 9, 12 are cats, row 13 is a dog: the dog must not be cut off.
    members = {0, 3, 6, 9, 12, 13}
    each = case(
        n=20,
        is_conflicting_duplicate_issue=[i in members for i in range(20)],
        is_exact_duplicate_issue=[i in members or i in {15, 16} for i in range(20)],
        duplicate_group=[4 if i in members else 8 if i in {15, 16} else None for i in range(20)],
    )
    sections = sections_of(each)
    assert groups_of(sections["conflicting_duplicate"]) == [["row-0", "row-13", "row-3", "row-6"]]
    # Shown once, under the graver heading.
    assert groups_of(sections["exact_duplicate"]) == [["row-15", "row-16"]]
    assert sections["exact_duplicate"].count == "8"


def test_leaks_name_the_split(case, report, add_inputs):
    each = case(
        n=20,
        is_split_leak_issue=[i in {2, 5} for i in range(20)],
        duplicate_group=[0 if i in {2, 5} else None for i in range(20)],
    )
    page = report(add_inputs(each))
    assert "row-2 in test" in page.text
    assert "row-5 in train" in page.text


def test_many_groups_are_cut_and_counted(case):
    each = case(n=40, is_near_duplicate_issue=[True] * 40, duplicate_group=[i // 2 for i in range(40)])
    section = sections_of(each)["near_duplicate"]
    assert len(section.groups) == 6
    assert section.left_out == "14 more groups in the issue table"


def test_duplicates_without_a_group_are_counted_and_not_shown(case):
    section = sections_of(case(is_near_duplicate_issue=[True] * 40))["near_duplicate"]
    assert section.groups == ()
    assert section.count == "40"


def test_outliers_lowest_score_first(case):
    scores = [(7 * i) % 40 / 40 for i in range(40)]
    each = case(is_outlier_issue=[i % 2 == 0 for i in range(40)], outlier_score=scores)
    section = sections_of(each)["outlier"]
    expected = sorted(range(0, 40, 2), key=lambda i: scores[i])[:8]
    assert groups_of(section) == [[f"row-{i}"] for i in expected]
    assert section.left_out == "12 more rows in the issue table"


def test_ambiguous_samples_name_both_labels(case):
    n = 12
    each = case(
        n=n,
        is_ambiguous_issue=[i == 0 for i in range(n)],
        ambiguous_score=[0.1] * n,
        alternative_labels=[["dog", "bird", "cat"]] * n,
        alternative_probs=[[0.41, 0.39, 0.1]] * n,
    )
    example = sections_of(each)["ambiguous"].groups[0][0]
    assert [(a.label.text, a.share) for a in example.alternatives] == [("dog", 41.0), ("bird", 39.0)]


def test_unreadable_files_with_their_reason(case):
    each = case(
        is_unreadable_issue=[i < 25 for i in range(40)], reason=["truncated\u202e"] * 24 + [None] * 16
    )
    section = sections_of(each)["unreadable"]
    assert len(section.listed) == 20
    assert section.listed[0][0].text == "row-0"
    assert section.listed[0][1] == "truncated⟨U+202E⟩"
    assert section.left_out == "5 more files in the issue table"


def test_small_classes_by_size(case):
    each = case(names=("a", "b", "c"), is_small_class_issue=[i in {0, 1, 4} for i in range(40)])
    assert [(name.text, remark) for name, remark in sections_of(each)["small_class"].listed] == [
        ("b", "2 rows"),
        ("a", "1 row"),
    ]


def test_counts_come_from_the_summary(case):
    each = case()
    each.summary = replace(each.summary, issue_counts={"outlier": 1_234})
    sections = sections_of(each)
    assert sections["outlier"].count == "1,234"
    assert sections["ambiguous"].count == "0"
