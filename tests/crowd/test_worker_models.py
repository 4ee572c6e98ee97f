"""Dawid-Skene and one-coin: by hand, against a slow version and crowd-kit, properties, edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crowds import make_crowd

from tamis.crowd import Answers
from tamis.crowd.dawid_skene import dawid_skene
from tamis.crowd.majority import majority_labels, vote_counts, vote_shares
from tamis.crowd.one_coin import one_coin
from tamis.crowd.tempering import held_out_temperature, tempered_posteriors
from tamis.errors import InputError

MODELS = [dawid_skene, one_coin]


def slow(answers, kind, n_iter):
    """Return posteriors, prior and errors after some iterations, in plain loops."""
    n_tasks, n_workers, n_classes = answers.n_tasks, answers.n_workers, answers.n_classes
    rows = list(zip(answers.task, answers.worker, answers.label, strict=True))
    posteriors = np.zeros((n_tasks, n_classes))
    for t, _, label in rows:
        posteriors[t, label] += 1
    posteriors /= posteriors.sum(axis=1, keepdims=True)

    def maximise():
        errors = np.zeros((n_workers, n_classes, n_classes))
        for t, w, label in rows:
            errors[w, label] += posteriors[t]
        for w in range(n_workers):
            said = [label for _, who, label in rows if who == w]
            if kind is one_coin:
                skill = np.mean([posteriors[t, label] for t, who, label in rows if who == w])
                errors[w] = (1 - skill) / (n_classes - 1)
                np.fill_diagonal(errors[w], skill)
                errors[w] = errors[w].clip(1e-10, 1 - 1e-10)
                continue
            for label in set(said):
                errors[w, label] = np.maximum(errors[w, label], 1e-10)
            errors[w] /= errors[w].sum(axis=0)
        return posteriors.mean(axis=0), errors

    prior, errors = maximise()
    for _ in range(n_iter):
        for t in range(n_tasks):
            score = np.log(np.maximum(prior, 1e-10))
            for _, w, label in [row for row in rows if row[0] == t]:
                score = score + np.log(errors[w, label])
            posteriors[t] = np.exp(score - score.max())
            posteriors[t] /= posteriors[t].sum()
        prior, errors = maximise()
    return posteriors, prior


def test_votes_by_hand():
    answers = Answers.from_matrix([[0, 0, 1], [2, 1, None], [None, None, None]], classes=range(3))
    assert vote_counts(answers).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    shares = vote_shares(answers)
    np.testing.assert_allclose(shares[:2], [[2 / 3, 1 / 3, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(shares[2], shares[:2].mean(axis=0))
    assert majority_labels(answers).tolist() == [0, 1, 1], "the first class wins a tie"


def test_one_iteration_by_hand():
    # Shares (1, 0) and (1/2, 1/2), so the prior is (3/4, 1/4) and both workers are treated by hand.
    answers = Answers.from_matrix([[0, 0], [0, 1]])
    found = dawid_skene(answers, n_iter=1)
    # Worker 0 says 0 always: 1 for both classes. Worker 1 says 0 about task 0, 1 about task 1: given class 0
    # 2/3 and 1/3; given class 1 it said 1 only.
    np.testing.assert_allclose(found.posteriors[0], [1, 0], atol=1e-9)
    np.testing.assert_allclose(found.posteriors[1], [0.75 / 3, 0.25] / np.float64(0.5), atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_iter", [1, 4])
def test_slow_version(model, n_iter, crowd):
    answers = Answers.from_table(crowd.table)
    posteriors, prior = slow(answers, model, n_iter)
    found = model(answers, n_iter=n_iter, tol=0.0)
    np.testing.assert_allclose(found.posteriors, posteriors, atol=1e-12)
    np.testing.assert_allclose(found.prior, prior, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_crowd_kit(seed):
    peer = pytest.importorskip("crowdkit.aggregation.classification.dawid_skene")
    crowd = make_crowd(seed=seed, n_tasks=80, n_classes=4)
    answers = Answers.from_table(crowd.table)
    for model, theirs in ((dawid_skene, peer.DawidSkene(100)), (one_coin, peer.OneCoinDawidSkene(100))):
        theirs.fit(crowd.table)
        ours = model(answers, compat=True)
        expected = theirs.probas_.reindex(index=answers.tasks, columns=answers.classes).to_numpy()
        np.testing.assert_allclose(ours.posteriors, expected, atol=1e-9)
        np.testing.assert_allclose(ours.history, theirs.loss_history_, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
class TestProperties:
    def test_row_order_changes_nothing(self, model, crowd):
        first = model(Answers.from_table(crowd.table))
        second = model(Answers.from_table(crowd.table.sample(frac=1, random_state=3)))
        np.testing.assert_array_equal(first.posteriors, second.posteriors)
        np.testing.assert_array_equal(first.worker_quality, second.worker_quality)

    def test_renamed_classes_tasks_and_workers(self, model, crowd):
        first = model(Answers.from_table(crowd.table))
        turned = np.array([2, 0, 1])
        renamed = pd.DataFrame(
            {
                "task": 1000 - crowd.table["task"],
                "worker": crowd.table["worker"].map(lambda worker: f"w{9 - worker}"),
                "label": turned[crowd.table["label"]],
            }
        )
        second = model(Answers.from_table(renamed))
        np.testing.assert_allclose(second.posteriors[::-1][:, turned], first.posteriors, atol=1e-9)
        np.testing.assert_allclose(second.worker_quality[::-1], first.worker_quality, atol=1e-9)

    def test_the_bound_never_falls(self, model, crowd):
        found = model(Answers.from_table(crowd.table), tol=0.0, n_iter=60)
        assert np.diff(found.history).min() > -1e-12

    def test_unanimous_answers_are_returned(self, model):
        truth = np.array([0, 1, 2, 1, 0])
        found = model(Answers.from_matrix(np.repeat(truth[:, None], 4, axis=1)))
        assert found.labels.tolist() == truth.tolist()
        np.testing.assert_allclose(found.posteriors.max(axis=1), 1.0, atol=1e-6)
        np.testing.assert_allclose(found.worker_quality, 1.0, atol=1e-6)

    def test_rows_sum_to_one(self, model, crowd):
        found = model(Answers.from_table(crowd.table))
        np.testing.assert_allclose(found.posteriors.sum(axis=1), 1.0)
        assert found.prior.sum() == pytest.approx(1.0)
        errors = found.error_tensor()
        assert errors.shape == (9, 3, 3)
        if model is dawid_skene:
            np.testing.assert_allclose(errors.sum(axis=1), 1.0)

    def test_gold_stays_certain_and_teaches(self, model):
        # Two against one at every task, but the one is known to be right.
        truth = np.array([0, 1] * 10)
        matrix = np.stack([truth, 1 - truth, 1 - truth], axis=1)
        matrix[3, 1:] = -1
        answers = Answers.from_matrix(matrix)
        gold = {row: int(truth[row]) for row in range(10)}
        found = model(answers, gold={**gold, 10**6: 0})
        np.testing.assert_array_equal(found.posteriors[:10], np.eye(2)[truth[:10]])
        assert found.labels.tolist() == truth.tolist()
        assert model(answers).labels.tolist() != truth.tolist()

    def test_lone_annotators_and_single_tasks(self, model):
        found = model(Answers.from_arrays(["a"], ["w"], ["x"]))
        assert found.posteriors.tolist() == [[1.0]]
        lone = model(Answers.from_arrays([1, 2, 2, 3], ["l", "a", "b", "m"], [0, 1, 1, 1]))
        assert lone.posteriors.shape == (3, 2)
        assert np.isfinite(lone.worker_quality).all()

    def test_tasks_and_workers_without_answers(self, model, crowd):
        task, worker, label = crowd.columns()
        plain = model(Answers.from_arrays(task, worker, label))
        more = Answers.from_arrays(task, worker, label, tasks=range(62), workers=range(10))
        found = model(more, gold={61: 2})
        np.testing.assert_allclose(found.posteriors[:60], plain.posteriors, atol=1e-12)
        np.testing.assert_allclose(found.posteriors[60], plain.prior)
        assert found.posteriors[61].tolist() == [0, 0, 1]
        assert np.isnan(found.worker_quality[9])

    def test_a_class_that_nobody_names(self, model, crowd):
        task, worker, label = crowd.columns()
        plain = model(Answers.from_arrays(task, worker, label))
        found = model(Answers.from_arrays(task, worker, label, classes=range(4)))
        assert found.posteriors[:, 3].max() < 1e-6
        if model is dawid_skene:
            np.testing.assert_allclose(found.posteriors[:, :3], plain.posteriors, atol=1e-4)

    def test_bad_settings(self, model, crowd):
        answers = Answers.from_table(crowd.table)
        with pytest.raises(InputError, match="n_iter is 0"):
            model(answers, n_iter=0)
        with pytest.raises(InputError, match="tol is nan"):
            model(answers, tol=float("nan"))
        with pytest.raises(InputError, match=r"gold label of task 0 is 7.*pass classes="):
            model(answers, gold={0: 7})

    def test_planted_skill_is_found(self, model):
        crowd = make_crowd(n_tasks=1500, n_workers=12, per_task=6, seed=4)
        answers = Answers.from_table(crowd.table)
        found = model(answers)
        right = (found.labels == crowd.truth).mean()
        assert right > (majority_labels(answers) == crowd.truth).mean() + 0.02
        assert np.abs(found.worker_quality - crowd.skill).max() < 0.08


def test_dawid_skene_turns_a_liar_round():
    truth = np.tile([0, 1], 20)
    matrix = np.stack([truth, truth, 1 - truth], axis=1)
    matrix[::5, 0] = -1
    found = dawid_skene(Answers.from_matrix(matrix))
    assert found.labels.tolist() == truth.tolist()
    assert found.worker_quality[2] < 1e-6


def test_compat_stops_where_the_criterion_falls(crowd):
    answers = Answers.from_table(crowd.table)
    official = dawid_skene(answers, compat=True)
    gains = np.diff(official.history)
    assert (gains[:-1] >= 1e-5).all()
    assert gains[-1] < 1e-5
    assert official.posteriors.min() >= 1e-10


def test_held_out_temperature():
    crowd = make_crowd(n_tasks=600, per_task=6, n_classes=2, seed=2)
    answers = Answers.from_table(crowd.table)
    assert held_out_temperature(answers, dawid_skene(answers)) == 1.0
    # Half of the tasks are so hard that most fall for the wrong class: errors come together.
    rng = np.random.default_rng(0)
    task = crowd.table["task"].to_numpy()
    is_fooled = (task % 2 == 0) & (rng.random(len(task)) < 0.6)
    label = np.where(is_fooled, 1 - crowd.truth[task], crowd.truth[task])
    label = np.where(rng.random(len(task)) < 0.05, 1 - label, label)
    dependent = Answers.from_table(crowd.table.assign(label=label))
    found = dawid_skene(dependent)
    temperature = held_out_temperature(dependent, found)
    assert temperature >= 1.5
    flat = tempered_posteriors(found.posteriors, temperature)
    np.testing.assert_allclose(flat.sum(axis=1), 1.0)
    assert flat.argmax(axis=1).tolist() == found.labels.tolist()
    single = Answers.from_arrays([1, 2, 3], [1, 1, 2], [0, 1, 0])
    assert held_out_temperature(single, dawid_skene(single)) == 1.0
    assert tempered_posteriors(flat, 1.0) is flat
