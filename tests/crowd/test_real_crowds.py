"""Dawid-Skene on real crowds: at least as right as crowd-kit's, whose figures were measured once."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tamis.crowd import Answers
from tamis.crowd.dawid_skene import dawid_skene

CROWD_KIT = {
    "bluebird": 0.8889,
    "dog": 0.8426,
    "web_relevance": 0.8292,
    "sentiment_polarity": 0.9152,
    "music_genre": 0.7686,
    "zencrowd_in": 0.7564,
}


@pytest.mark.shared
@pytest.mark.parametrize("name", CROWD_KIT)
def test_at_least_as_right_as_crowd_kit(name, shared):
    chosen = pc.field("dataset") == name
    table = pq.read_table(shared / "data" / "crowd_answers.parquet", filters=chosen)
    truth = pq.read_table(shared / "data" / "crowd_truth.parquet", filters=chosen)
    answers = Answers.from_table(table)
    true = dict(zip(truth["item"].to_pylist(), truth["truth"].to_pylist(), strict=True))
    labels = answers.classes[dawid_skene(answers).labels]
    known = np.array([true.get(task, -1) for task in answers.tasks.tolist()])
    right = (labels == known)[known >= 0].mean()
    assert right >= CROWD_KIT[name] - 5e-5
