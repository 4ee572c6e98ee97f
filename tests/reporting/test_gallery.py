"""Which labels come into the gallery, and what is said about them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tamis.reporting.gallery import build_cards, evidence_names, worst_rows
from tamis.reporting.samples import SampleReader


def cards_of(case, n=60, calibrated=True):
    return build_cards(
        SampleReader(case.issues, case.dataset), case.issues, case.neighbors, n, calibrated=calibrated
    )


def test_worst_rows_follow_the_rank(case):
    rank = np.random.default_rng(0).permutation(40) + 1
    each = case(rank=rank.tolist(), flagged=20)
    assert worst_rows(each.issues, 20) == list(np.argsort(rank)[:20])
    assert worst_rows(each.issues, 5) == list(np.argsort(rank)[:5])
    assert worst_rows(each.issues, 0) == []


def test_rows_without_rank_are_left_out(case):
    each = case(rank=[None if i % 2 else i for i in range(40)], flagged=0)
    assert worst_rows(each.issues, 60) == list(range(0, 24, 2))


def test_card_by_hand(case):
    each = case(n=6, flagged=1, k=3)
    each.neighbors[0] = [3, 1, -1]  # cat, dog; row 0 is a cat that should be a dog
    card = cards_of(each)[0]
    assert (card.place, card.sample.id.text, card.sample.label.text, card.suggested.text) == (
        1,
        "row-0",
        "cat",
        "dog",
    )
    assert card.score.replace("\u202f", " ") == "2 % likely right"
    assert [(near.sample.id.text, near.role) for near in card.neighbors] == [
        ("row-1", "suggested"),
        ("row-3", "given"),
    ]
    assert card.agreement == "Of the 2 nearest samples, 1 carry the suggested label, 1 the given one"
    assert [(each.label.text, each.share) for each in card.alternatives] == [("dog", 98.0)]
    assert card.evidence[0][0] == "self confidence"


def test_neighbors_with_the_suggested_label_come_first_and_near_before_far(case):
    each = case(n=30, k=12)
    each.neighbors[0] = [3, 4, 6, 7, 2, 5, 8, 10, 13, 16, 19, 22]
    near = cards_of(each)[0].neighbors
    assert [n.sample.id.text for n in near] == ["row-4", "row-7", "row-10", "row-13", "row-16"]
    each.neighbors[0] = [3, 4, 6, *[-1] * 9]
    assert [n.sample.id.text for n in cards_of(each)[0].neighbors] == ["row-4", "row-3", "row-6"]


def test_unlabelled_neighbors_and_missing_values(case):
    labels = ["cat", None, *["dog"] * 4]
    each = case(
        n=6, flagged=0, k=1, given_label=labels, alternative_probs=[[None]] * 6, self_confidence=[None] * 6
    )
    card = cards_of(each)[0]
    assert card.neighbors[0].sample.label.text == "(no label)"
    assert card.neighbors[0].role == "other"
    assert card.alternatives == ()
    assert card.evidence == ()


def test_uncalibrated_scores_are_not_called_probabilities(case):
    each = case(n=3, flagged=0, label_score=[0.00002, 0.4, 0.8])
    assert [card.score for card in cards_of(each, calibrated=False)] == [
        "label score under 0.001",
        "label score 0.400",
        "label score 0.800",
    ]


def test_evidence_is_every_float_column_beyond_the_fixed_ones(case):
    table = case().issues.append_column("vote", pa.array(np.zeros(40)))
    table = table.append_column("remark", pa.array(["x"] * 40))
    assert evidence_names(table.schema) == ["self_confidence", "vote"]


def test_chunked_tables_read_like_whole_ones(case):
    each = case(flagged=20)
    whole = cards_of(each)
    each.issues = pa.concat_tables([each.issues.slice(0, 7), each.issues.slice(7)])
    assert cards_of(each) == whole
