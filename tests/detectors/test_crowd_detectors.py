"""Detectors on crowd answers: one contract, and what is particular to each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamis.crowd import Answers
from tamis.detectors import DETECTORS, Crowdlab, DawidSkene, MajorityVote, OneCoin
from tamis.detectors.crowd_detector import CrowdDetector
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision

NAMES = np.array(["cat", "dog", "emu"])


def crowd(n_tasks=200, seed=0):
    """Return a table of answers and the true class of each task."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n_tasks)
    skill = np.linspace(0.4, 0.95, 8)
    task = np.repeat(np.arange(n_tasks), 4)
    worker = np.concatenate([rng.choice(8, 4, replace=False) for _ in range(n_tasks)])
    is_right = rng.random(len(task)) < skill[worker]
    label = np.where(is_right, truth[task], (truth[task] + rng.integers(1, 3, len(task))) % 3)
    table = pd.DataFrame({"task": task, "worker": [f"w{w}" for w in worker], "label": NAMES[label]})
    return table, truth


def fitted(kind, table, truth, **arguments):
    if kind is Crowdlab:
        probs = pd.DataFrame(0.5 * np.eye(3)[truth] + 0.5 / 3, columns=NAMES)
        return kind().fit(table, probs, **arguments)
    return kind().fit(table, **arguments)


def test_all_are_registered():
    kinds = {entry.target: entry for entry in DETECTORS if issubclass(entry.target, CrowdDetector)}
    assert set(kinds) == {MajorityVote, DawidSkene, OneCoin, Crowdlab}
    for kind, entry in kinds.items():
        assert entry.facts.task == "crowd"
        assert entry.facts.inputs == (("answers", "pred_probs") if kind is Crowdlab else ("answers",))


@pytest.mark.parametrize("kind", [MajorityVote, DawidSkene, OneCoin, Crowdlab])
class TestContract:
    def test_attributes(self, kind):
        table, truth = crowd()
        detector = fitted(kind, table, truth)
        assert detector.classes_.tolist() == NAMES.tolist()
        assert detector.tasks_.tolist() == list(range(200))
        assert detector.workers_.tolist() == [f"w{w}" for w in range(8)]
        for values in (detector.clean_scores_, detector.answer_scores_, detector.worker_quality_):
            assert values.dtype == np.float64
            assert ((values >= 0) & (values <= 1)).all()
        assert len(detector.answer_scores_) == 800
        np.testing.assert_array_equal(
            detector.is_issue_, detector.suggested_labels_ != detector.given_labels_
        )
        np.testing.assert_allclose(detector.posteriors_.sum(axis=1), 1.0)
        assert (detector.suggested_labels_ == NAMES[truth]).mean() > 0.75
        wrong = table["label"].to_numpy() != NAMES[truth][table["task"]]
        assert average_precision(detector.answer_scores_, wrong) > 0.65

    def test_given_labels_are_judged(self, kind):
        table, truth = crowd()
        given = {row: NAMES[(truth[row] + 1) % 3] for row in range(0, 200, 10)}
        detector = fitted(kind, table, truth, given_labels=given)
        wrong = detector.given_labels_ != NAMES[truth]
        assert wrong[::10].all()
        assert average_precision(detector.clean_scores_, wrong) > 0.65
        with pytest.raises(InputError, match="given_labels holds 'fox'"):
            fitted(kind, table, truth, given_labels={0: "fox"})

    def test_order_and_names(self, kind):
        table, truth = crowd()
        first = fitted(kind, table, truth)
        second = fitted(kind, table.sample(frac=1, random_state=1), truth)
        np.testing.assert_allclose(second.posteriors_, first.posteriors_, atol=1e-12)
        np.testing.assert_allclose(second.worker_quality_, first.worker_quality_, atol=1e-12)

    def test_scores_of_answers(self, kind):
        table, truth = crowd()
        detector = fitted(kind, table, truth)
        np.testing.assert_array_equal(detector.score(table), detector.answer_scores_)
        np.testing.assert_array_equal(detector.score(table[:7]), detector.answer_scores_[:7])
        with pytest.raises(InputError, match="task 999 was never fitted"):
            detector.score(([999], ["w1"], ["cat"]))

    def test_before_fit(self, kind):
        assert not hasattr(kind(), "clean_scores_")
        with pytest.raises(NotFittedError, match="call fit first"):
            _ = kind().worker_quality_

    def test_missing_answers_keep_their_place(self, kind):
        table, truth = crowd()
        table.loc[[3, 10], "label"] = None
        detector = fitted(kind, table, truth)
        assert len(detector.answer_scores_) == 798
        assert 3 not in detector.answers_.rows


@pytest.mark.parametrize("kind", [MajorityVote, DawidSkene, OneCoin])
class TestMerging:
    def test_blocks_give_the_same(self, kind):
        table, truth = crowd()
        whole = fitted(kind, table, truth)
        parts = [table[start : start + 300] for start in range(0, 800, 300)]
        left, right = kind().partial_fit(parts[2]), kind().partial_fit(parts[1]).partial_fit(parts[0])
        for detector in (left.merge(right), kind().merge(right).partial_fit(parts[2])):
            np.testing.assert_allclose(detector.clean_scores_, whole.clean_scores_, atol=1e-12)
            np.testing.assert_array_equal(detector.suggested_labels_, whole.suggested_labels_)
            np.testing.assert_allclose(detector.score(table), whole.answer_scores_, atol=1e-12)

    def test_new_answers_after_results(self, kind):
        table, truth = crowd(n_tasks=400)
        whole = fitted(kind, table, truth)
        detector = kind().fit(table[:1560]).partial_fit(table[1560:])
        assert len(detector.tasks_) == 400
        assert (detector.suggested_labels_ == whole.suggested_labels_).mean() > 0.98


def test_fitting_again_forgets():
    table, truth = crowd()
    for kind in (MajorityVote, DawidSkene):
        detector = kind().fit(table[:400]).fit(table)
        np.testing.assert_array_equal(detector.clean_scores_, fitted(kind, table, truth).clean_scores_)


def test_gold_and_classes():
    table, truth = crowd()
    gold = {row: str(NAMES[truth[row]]) for row in range(100)}
    detector = DawidSkene(gold=gold, classes=["emu", "dog", "cat", "fox"]).fit(table)
    assert detector.classes_.tolist() == ["emu", "dog", "cat", "fox"]
    assert (detector.suggested_labels_[:100] == NAMES[truth[:100]]).all()
    assert detector.error_tensor_.shape == (8, 4, 4)
    assert detector.posteriors_[:, 3].max() == 0


def test_what_is_refused():
    table, _ = crowd()
    with pytest.raises(InputError, match="OneCoin cannot be merged into DawidSkene"):
        DawidSkene().merge(OneCoin().fit(table))
    with pytest.raises(InputError, match="no answers to refine"):
        DawidSkene().refine()
    assert DawidSkene().fit(table).refine(n_iter=2).is_issue_.shape == (200,)
    probs = pd.DataFrame(np.full((199, 3), 1 / 3), columns=NAMES)
    with pytest.raises(InputError, match="pred_probs has nothing for task 199"):
        Crowdlab().fit(table, probs)
    with pytest.raises(InputError, match="not among the 2 listed"):
        Crowdlab().fit(table, pd.DataFrame(np.full((200, 2), 0.5), columns=NAMES[:2]))
    with pytest.raises(InputError, match=r"expected \(200, 3\)"):
        Crowdlab().fit(table, np.full((200, 2), 0.5))


def test_columns_of_an_array_are_class_numbers():
    answers = Answers.from_arrays([0, 0, 1, 1], ["a", "b", "a", "b"], [0, 0, 2, 2])
    detector = Crowdlab(calibrate=True).fit(answers, np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    assert detector.classes_.tolist() == [0, 1, 2]
    assert detector.suggested_labels_.tolist() == [0, 2]
    assert detector.consensus_.temperature > 0
