"""CROWDLAB and agreement: by hand, beside cleanlab, ties, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
from crowds import make_crowd

from tamis.crowd import Answers
from tamis.crowd.consensus import majority_consensus, vote_agreement
from tamis.crowd.crowdlab import LEAST, best_temperature, crowdlab, temper
from tamis.errors import InputError


def model_of(crowd, n_classes=3, sharp=1.5, seed=0):
    """Return probabilities of a model that knows something about the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(crowd.truth), n_classes)) + sharp * np.eye(n_classes)[crowd.truth]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def wide(answers):
    """Return the (T, A) matrix of answers with NaN."""
    matrix = np.full((answers.n_tasks, answers.n_workers), np.nan)
    matrix[answers.task, answers.worker] = answers.label
    return matrix


def test_weights_by_hand():
    # Tasks 0 to 2 are shared; consensus 0, 1, 0. Agreeing shares 1, 1/2, 1, so P = 5/6.
    answers = Answers.from_matrix([[0, 0], [0, 1], [0, 0], [None, 1]])
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    found = crowdlab(answers, probs)
    assert found.labels.tolist() == [0, 1, 0, 1]
    # Both agree with the other in two of three; always saying 0 errs in one of three: 1 - (1/3) / (1/3) = 0.
    np.testing.assert_allclose(found.worker_weight, LEAST)
    # The model errs nowhere: 1 * sqrt(7 answers / 4 tasks).
    assert found.model_weight == pytest.approx(np.sqrt(7 / 4))
    np.testing.assert_allclose(found.posteriors, probs, atol=1e-5)
    np.testing.assert_allclose(found.quality, [0.9, 0.6, 0.7, 0.8], atol=1e-5)
    assert found.agreement.tolist() == [1, 0.5, 1, 1]


def test_ties_are_decided_in_this_order():
    probs = np.array([[0.3, 0.7]])
    assert majority_consensus(Answers.from_matrix([[0, 1]]), probs).tolist() == [1], "the likelier class"
    rarer = Answers.from_matrix([[0, 1], [0, 0]])
    assert majority_consensus(rarer).tolist() == [1, 0], "the class that is used less"
    # Class 0 and 1 are used alike; worker 1 agrees with the consensus elsewhere, worker 0 does not.
    better = Answers.from_matrix([[0, 1, None, None], [1, 0, 0, None], [0, 1, 1, None]])
    assert majority_consensus(better).tolist() == [1, 0, 1], "the class of those who agree more elsewhere"
    even = Answers.from_matrix([[1, 0], [0, 1]])
    assert majority_consensus(even).tolist() == [0, 0], "the first class"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_cleanlab(seed):
    peer = pytest.importorskip("cleanlab.multiannotator")
    crowd = make_crowd(n_tasks=50, n_workers=6, per_task=3, seed=seed)
    rows = np.random.default_rng(seed).random(150) < 0.7
    rows[::3] = True
    answers = Answers.from_table(crowd.table[rows])
    probs = model_of(crowd, seed=seed)
    for calibrate in (False, True):
        theirs = peer.get_label_quality_multiannotator(
            wide(answers), probs, calibrate_probs=calibrate, return_weights=True, verbose=False
        )
        ours = crowdlab(answers, probs, calibrate=calibrate, compat=True)
        table = theirs["label_quality"]
        np.testing.assert_array_equal(ours.labels, table["consensus_label"])
        np.testing.assert_allclose(ours.quality, table["consensus_quality_score"])
        np.testing.assert_allclose(ours.agreement, table["annotator_agreement"])
        np.testing.assert_allclose(ours.worker_weight, theirs["annotator_weight"])
        assert ours.model_weight == pytest.approx(theirs["model_weight"])
        detailed = theirs["detailed_label_quality"].to_numpy()
        np.testing.assert_allclose(ours.answer_quality, detailed[answers.task, answers.worker])
        stats = theirs["annotator_stats"].sort_index()
        np.testing.assert_allclose(ours.worker_quality, stats["annotator_quality"])


class TestProperties:
    def test_rows_sum_to_one_within_bounds(self, crowd):
        answers = Answers.from_table(crowd.table)
        found = crowdlab(answers, model_of(crowd))
        np.testing.assert_allclose(found.posteriors.sum(axis=1), 1.0)
        for values in (found.quality, found.agreement, found.answer_quality, found.worker_quality):
            assert ((values >= 0) & (values <= 1)).all()

    def test_order_of_answers_and_names(self, crowd):
        probs = model_of(crowd)
        first = crowdlab(Answers.from_table(crowd.table), probs, calibrate=True)
        mixed = crowd.table.sample(frac=1, random_state=2)
        second = crowdlab(Answers.from_table(mixed), probs, calibrate=True)
        np.testing.assert_allclose(second.posteriors, first.posteriors, atol=1e-12)
        turned = np.array([2, 0, 1])
        renamed = crowd.table.assign(label=turned[crowd.table["label"]], worker=50 - crowd.table["worker"])
        third = crowdlab(Answers.from_table(renamed), probs[:, np.argsort(turned)], calibrate=True)
        np.testing.assert_allclose(third.posteriors[:, turned], first.posteriors, atol=1e-12)
        np.testing.assert_allclose(third.worker_quality[::-1], first.worker_quality, atol=1e-12)

    def test_an_annotator_at_chance_weighs_nothing(self):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 2, 400)
        matrix = np.stack([truth, truth, rng.integers(0, 2, 400)], axis=1)
        probs = np.where(np.eye(2)[truth] == 1, 0.8, 0.2)
        found = crowdlab(Answers.from_matrix(matrix), probs)
        assert found.worker_weight[2] < 0.1
        assert found.worker_weight[:2].min() > 0.3

    def test_more_right_than_the_majority(self):
        crowd = make_crowd(n_tasks=1500, per_task=2, seed=6)
        answers = Answers.from_table(crowd.table)
        found = crowdlab(answers, model_of(crowd))
        majority = majority_consensus(answers)
        assert (found.labels == crowd.truth).mean() > (majority == crowd.truth).mean() + 0.05
        assert np.corrcoef(found.worker_quality, crowd.skill)[0, 1] > 0.9


def test_agreement_is_the_vote_share(crowd):
    answers = Answers.from_table(crowd.table)
    found = vote_agreement(answers)
    np.testing.assert_allclose(found.posteriors.sum(axis=1), 1.0)
    np.testing.assert_allclose(found.quality, found.posteriors[np.arange(60), found.labels])
    np.testing.assert_array_equal(found.labels, majority_consensus(answers))
    assert found.worker_weight is None


def test_official_counts_move_to_the_left():
    answers = Answers.from_matrix([[2, 2, 2], [0, 1, 2]])
    official = vote_agreement(answers, compat=True)
    assert official.labels.tolist() == [0, 0]
    np.testing.assert_allclose(official.posteriors, [[1, 0, 0], [1 / 3] * 3])
    assert vote_agreement(answers).labels[0] == 2


def test_every_task_answered_once():
    answers = Answers.from_arrays([0, 1, 2, 3], [0, 1, 0, 1], [0, 1, 1, 0])
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.8, 0.2]])
    found = crowdlab(answers, probs)
    assert found.notes
    np.testing.assert_allclose(found.worker_weight, 1.0)
    # The model agrees with three of four: P = 3/4. Task 2: (0.9 + 0.25) / 2 for class 0.
    np.testing.assert_allclose(found.posteriors[2], [0.575, 0.425])
    assert found.labels.tolist() == [0, 1, 0, 0]


def test_an_annotator_who_shares_no_task():
    answers = Answers.from_matrix([[0, 0, None], [1, 1, None], [0, 1, None], [None, None, 1]])
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6]])
    found, official = crowdlab(answers, probs), crowdlab(answers, probs, compat=True)
    assert found.worker_weight[2] == pytest.approx(found.worker_weight[:2].mean())
    assert found.worker_quality[2] == pytest.approx(found.answer_quality[-1])
    assert np.isnan(official.worker_quality[2])
    np.testing.assert_array_equal(found.posteriors, official.posteriors)


def test_one_class_only():
    found = crowdlab(Answers.from_matrix([[0, 0], [0, None]]), np.ones((2, 1)), calibrate=True)
    assert found.posteriors.tolist() == [[1.0], [1.0]]
    assert found.labels.tolist() == [0, 0]


def test_temperature():
    rng = np.random.default_rng(0)
    honest = rng.dirichlet(np.ones(3), 3000)
    drawn = (rng.random((3000, 5))[:, :, None] > honest.cumsum(axis=1)[:, None, :2]).sum(axis=2)
    answers = Answers.from_matrix(drawn)
    assert best_temperature(answers, honest) == pytest.approx(1.0, abs=0.1)
    assert best_temperature(answers, temper(honest, 0.5)) == pytest.approx(2.0, abs=0.25)
    np.testing.assert_allclose(temper(honest, 1.0), honest)
    assert best_temperature(Answers.from_matrix([[0], [1]]), np.eye(2)) == 0.1


@pytest.mark.parametrize(
    ("answers", "probs", "message"),
    [
        ([[0, 1], [None, None]], [[0.5, 0.5]] * 2, "task 1 has no answer"),
        ([[0, None], [1, None]], [[0.5, 0.5]] * 2, "worker 1 has no answer"),
        ([[0, 1]], [[0.5, 0.5]] * 2, r"pred_probs has shape \(2, 2\); expected \(1, 2\)"),
        ([[0, 1]], [[3.0, -1.0]], "pass softmax of logits"),
        ([[0, 1]], [[float("nan"), 1.0]], "pred_probs row 0"),
    ],
)
def test_what_is_refused(answers, probs, message):
    with pytest.raises(InputError, match=message):
        crowdlab(Answers.from_matrix(answers), np.array(probs))
