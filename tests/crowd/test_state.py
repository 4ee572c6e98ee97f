"""Answers that keep coming: collected they give one run's result, folded in they come close to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crowds import make_crowd

from tamis.crowd import Answers, CrowdState, as_answers
from tamis.crowd.dawid_skene import confusion_model, dawid_skene
from tamis.crowd.one_coin import coin_model, one_coin
from tamis.errors import InputError, NotFittedError

KINDS = [(confusion_model, dawid_skene), (coin_model, one_coin)]


def in_order(state):
    """Return posteriors by sorted task and sorted class."""
    answers = state.answers
    rows, columns = np.argsort(answers.tasks), np.argsort(answers.classes)
    return state.fit.posteriors[rows][:, columns]


@pytest.mark.parametrize(("make_model", "function"), KINDS)
class TestState:
    def test_blocks_and_merging_give_one_run(self, make_model, function, crowd):
        expected = function(Answers.from_table(crowd.table)).posteriors
        parts = [as_answers(crowd.columns(slice(at, at + 50))) for at in range(0, 240, 50)]
        one_by_one = CrowdState(make_model)
        for part in parts[::-1]:
            one_by_one.partial_fit(part)
        left, right = CrowdState(make_model).partial_fit(parts[3]), CrowdState(make_model)
        for part in (parts[4], parts[0], parts[2], parts[1]):
            right.partial_fit(part)
        for state in (one_by_one, left.merge(right), CrowdState(make_model).merge(left)):
            assert not state.is_solved
            np.testing.assert_array_equal(state.solve().fit.posteriors, expected)
        assert right.n_answers == 190

    def test_folding_in_approaches_a_full_run(self, make_model, function):
        crowd = make_crowd(n_tasks=2000, n_workers=20, per_task=5, seed=1)
        rows = np.random.default_rng(0).permutation(10_000)
        old, new = as_answers(crowd.columns(rows[:9900])), as_answers(crowd.columns(rows[9900:]))
        settings = {"tol": 1e-9, "n_iter": 500}
        full = function(Answers.from_table(crowd.table), **settings)
        state = CrowdState(make_model, **settings).partial_fit(old).solve().partial_fit(new)
        folded = np.abs(in_order(state) - full.posteriors)
        assert folded.mean() < 5e-3
        assert (in_order(state).argmax(axis=1) == full.labels).mean() > 0.99
        refined = np.abs(in_order(state.refine()) - full.posteriors)
        assert refined.max() < 1e-2
        assert refined.mean() < 1e-4

    def test_folding_in_never_lowers_the_likelihood(self, make_model, function, crowd):
        old, new = as_answers(crowd.columns(slice(200))), as_answers(crowd.columns(slice(200, None)))
        state = CrowdState(make_model, tol=0.0).partial_fit(old).solve().partial_fit(new)
        before = state.fit
        after = state.refine(n_iter=3, tol=0.0).fit
        assert np.diff(after.history).min() > -1e-12
        assert np.abs(before.posteriors - after.posteriors).max() < 0.5

    def test_new_tasks_workers_and_classes(self, make_model, function):
        crowd = make_crowd(n_tasks=300, per_task=6)
        more = pd.DataFrame(
            {
                "task": np.repeat(np.arange(900, 920), 4),
                "worker": np.tile(np.array([6, 7, 8, "new"], dtype=object), 20),
                "label": ["z"] * 80,
            }
        )
        state = CrowdState(make_model).partial_fit(Answers.from_table(crowd.table)).solve()
        state.partial_fit(Answers.from_table(more))
        assert (state.answers.n_tasks, state.answers.n_workers, len(state.answers)) == (320, 10, 1880)
        assert state.answers.classes.tolist() == [0, 1, 2, "z"]
        np.testing.assert_allclose(state.fit.posteriors.sum(axis=1), 1.0)
        assert (state.fit.posteriors[300:].argmax(axis=1) == 3).all()
        table = crowd.table.astype({"worker": object, "label": object})
        full = function(Answers.from_table(pd.concat([table, more])), tol=1e-8, n_iter=500)
        refined = state.refine(tol=1e-8, n_iter=500).fit
        np.testing.assert_allclose(refined.posteriors, full.posteriors, atol=0.02)

    def test_folding_in_twice_and_solving_again(self, make_model, function, crowd):
        state = CrowdState(make_model).partial_fit(as_answers(crowd.columns(slice(180)))).solve()
        for at in (180, 200, 220):
            state.partial_fit(as_answers(crowd.columns(slice(at, at + 20))))
        full = function(Answers.from_table(crowd.table))
        state.solve()
        rows = np.argsort(state.answers.tasks)
        np.testing.assert_allclose(state.fit.posteriors[rows], full.posteriors, atol=1e-9)
        np.testing.assert_allclose(np.sort(state.fit.worker_quality), np.sort(full.worker_quality), atol=1e-9)

    def test_gold_of_later_tasks(self, make_model, function, crowd):
        gold = {0: 1, 50: 2, 1234: 0}
        old = crowd.table[crowd.table["task"] < 40]
        new = crowd.table[crowd.table["task"] >= 40]
        state = CrowdState(make_model, gold=gold).partial_fit(Answers.from_table(old)).solve()
        state.partial_fit(Answers.from_table(new))
        for _ in range(2):
            posteriors = in_order(state)
            assert posteriors[0].tolist() == [0, 1, 0]
            assert posteriors[50].tolist() == [0, 0, 1]
            state.refine()

    def test_listed_tasks_without_answers(self, make_model, function, crowd):
        task, worker, label = crowd.columns()
        listed = Answers.from_arrays(task, worker, label, tasks=range(63))
        state = CrowdState(make_model, gold={62: 1}).partial_fit(listed).solve()
        np.testing.assert_allclose(state.fit.posteriors[60], state.fit.prior)
        state.partial_fit(Answers.from_arrays([60, 60], [8, 7], [2, 2]))
        assert state.fit.posteriors[60].argmax() == 2
        np.testing.assert_allclose(state.fit.posteriors[61], state.fit.prior)
        state.refine()
        np.testing.assert_allclose(state.fit.posteriors[61], state.fit.prior)
        assert state.fit.posteriors[62].tolist() == [0, 1, 0]


def test_what_is_refused(crowd):
    state = CrowdState(confusion_model)
    with pytest.raises(NotFittedError, match="holds no answers"):
        _ = state.answers
    with pytest.raises(NotFittedError, match="call solve first"):
        _ = state.fit
    with pytest.raises(InputError, match="different models"):
        state.merge(CrowdState(coin_model))
    assert state.merge(CrowdState(confusion_model)) is state
    with pytest.raises(InputError, match="n_iter is 0"):
        CrowdState(confusion_model, n_iter=0)
    state.partial_fit(Answers.from_table(crowd.table))
    assert state.refine().is_solved, "nothing to refine yet: it solves"
