"""The fit of a transition matrix and a prior to label consensus."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tamis.errors import InputError, TamisWarning
from tamis.statistics.clusterability import Consensus, ConsensusCounts, hoc_objective, population_consensus
from tamis.statistics.transition_fit import fit_transition

TRUTH = np.array([[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.2, 0.2, 0.6]])
PRIOR = np.array([0.3, 0.5, 0.2])


def reference_fit(observed, u, v, n_steps, rate):
    """Return the last step of Adam at a constant rate, written as in its paper."""
    x = [u.numpy().copy(), v.numpy().copy()]
    first, second = [0.0, 0.0], [0.0, 0.0]
    for t in range(1, n_steps):
        leaves = [torch.tensor(each, requires_grad=True) for each in x]
        for i, gradient in enumerate(torch.autograd.grad(hoc_objective(*leaves, observed), leaves)):
            first[i] = 0.9 * first[i] + 0.1 * gradient.numpy()
            second[i] = 0.999 * second[i] + 0.001 * gradient.numpy() ** 2
            step = first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
            x[i] = x[i] - rate * step
    return x


def test_exact_shares_give_the_truth():
    fit = fit_transition(*population_consensus(TRUTH, PRIOR), n_steps=300)
    assert np.abs(fit.transition.numpy() - TRUTH).sum(axis=1).max() < 0.01
    np.testing.assert_allclose(fit.prior, PRIOR, atol=0.005)
    assert float(fit.loss) < 1e-3
    torch.testing.assert_close(fit.transition_logits.softmax(dim=1), fit.transition)


def test_sampled_shares_give_nearly_the_truth():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 20_000, p=PRIOR)
    answers = np.stack(
        [(rng.random((20_000, 1)) > TRUTH[truth].cumsum(axis=1)).sum(axis=1) for _ in range(3)]
    )
    shares = ConsensusCounts(3).partial_fit(answers.T).shares()
    fit = fit_transition(*shares, n_steps=250)
    assert np.abs(fit.transition.numpy() - TRUTH).sum(axis=1).max() < 0.06


def test_the_first_steps_are_those_of_adam():
    observed = population_consensus(TRUTH, PRIOR)
    u, v = 5 * torch.eye(3, dtype=torch.float64) - 1, torch.tensor([0.35, 0.42, 0.38], dtype=torch.float64)
    wanted = reference_fit(observed, u, v, 30, 0.1)
    fit = fit_transition(
        *observed, transition_logits=u, prior_logits=v, n_steps=30, decay_from=1.0, keep="last"
    )
    torch.testing.assert_close(fit.transition_logits, torch.from_numpy(wanted[0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(fit.prior_logits, torch.from_numpy(wanted[1]), rtol=0, atol=1e-9)


def test_the_start_is_left_alone_and_one_step_returns_it():
    u, v = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    start = u.clone(), v.clone()
    observed = population_consensus(TRUTH, PRIOR)
    fit = fit_transition(*observed, transition_logits=u, prior_logits=v, n_steps=1)
    torch.testing.assert_close((fit.transition_logits, fit.prior_logits), start)
    fit_transition(*observed, transition_logits=u, prior_logits=v, n_steps=20)
    torch.testing.assert_close((u, v), start)


def test_the_best_step_is_kept_and_not_an_alias():
    observed = population_consensus(TRUTH, PRIOR)
    best = fit_transition(*observed, n_steps=120, decay_from=1.0)
    last = fit_transition(*observed, n_steps=120, decay_from=1.0, keep="last")
    at_best = float(hoc_objective(best.transition_logits, best.prior_logits, observed))
    assert at_best == pytest.approx(float(best.loss), abs=1e-15)
    assert float(last.loss) == float(best.loss)
    assert float(hoc_objective(last.transition_logits, last.prior_logits, observed)) > at_best


def test_a_falling_rate_comes_closer():
    observed = population_consensus(TRUTH, PRIOR)
    constant = fit_transition(*observed, n_steps=200, decay_from=1.0)
    assert float(fit_transition(*observed, n_steps=200).loss) < float(constant.loss)


def test_a_warm_start_needs_few_steps():
    observed = population_consensus(TRUTH, PRIOR)
    first = fit_transition(*observed, n_steps=200)
    second = fit_transition(
        *observed,
        transition_logits=first.transition_logits,
        prior_logits=first.prior_logits,
        n_steps=20,
        learning_rate=0.01,
    )
    assert float(second.loss) <= float(first.loss)


def test_numbering_of_classes_does_not_matter():
    turn = np.array([2, 0, 1])
    first = fit_transition(*population_consensus(TRUTH, PRIOR), n_steps=250)
    second = fit_transition(*population_consensus(TRUTH[np.ix_(turn, turn)], PRIOR[turn]), n_steps=250)
    np.testing.assert_allclose(second.transition, first.transition[turn][:, turn], atol=2e-3)


def test_same_seed_same_bits_and_another_start_the_same_answer():
    observed = population_consensus(TRUTH, PRIOR)
    first, again = fit_transition(*observed, n_steps=200), fit_transition(*observed, n_steps=200)
    other = fit_transition(*observed, n_steps=200, random_state=1)
    assert torch.equal(first.transition, again.transition)
    assert not torch.equal(first.transition, other.transition)
    np.testing.assert_allclose(other.transition, first.transition, atol=5e-3)


def test_fits_side_by_side_are_independent():
    parts = [population_consensus(TRUTH, PRIOR), population_consensus(np.eye(3), PRIOR[::-1].copy())]
    together = fit_transition(*(torch.stack(each) for each in zip(*parts, strict=True)), n_steps=200)
    for row, part in enumerate(parts):
        alone = fit_transition(*part, n_steps=200)
        np.testing.assert_allclose(together.transition[row], alone.transition, atol=2e-3)
    assert together.loss.shape == (2,)


def test_a_local_fit_has_a_more_peaked_prior():
    observed = population_consensus(TRUTH, np.array([0.9, 0.06, 0.04]))
    plain = fit_transition(*observed, n_steps=200)
    local = fit_transition(*observed, n_steps=200, is_local=True)
    assert float(local.prior.max()) > float(plain.prior.max())
    # Fewer steps than the prior is pushed after: no difference.
    few = [fit_transition(*observed, n_steps=101, is_local=flag).prior for flag in (False, True)]
    torch.testing.assert_close(few[0], few[1])


def test_many_classes():
    k = 40
    truth = 0.7 * np.eye(k) + 0.3 * np.roll(np.eye(k), 1, axis=1)
    fit = fit_transition(*population_consensus(truth, np.full(k, 1 / k)), n_steps=150)
    assert np.abs(fit.transition.numpy() - truth).sum(axis=1).mean() < 0.1


def test_a_class_that_is_never_given_is_warned_of():
    never = TRUTH.copy()
    never[:, 2] = 0
    never /= never.sum(axis=1, keepdims=True)
    with pytest.warns(TamisWarning, match=r"no sample is labelled \[2\]"):
        fit = fit_transition(*population_consensus(never, PRIOR), n_steps=50)
    assert bool(torch.isfinite(fit.transition).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"decay_from": 1.5}, "decay_from is 1.5"),
        ({"keep": "first"}, "choose 'best' or 'last'"),
        ({"transition_logits": np.zeros((2, 2))}, r"transition_logits has shape \(2, 2\)"),
        ({"prior_logits": np.full(3, np.nan)}, "finite numbers"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        fit_transition(*population_consensus(TRUTH, PRIOR), **options)


def test_bad_shares_are_refused():
    c1, c2, c3 = population_consensus(TRUTH, PRIOR)
    with pytest.raises(InputError, match=r"c2 has shape \(3, 2\)"):
        fit_transition(c1, c2[:, :2], c3)
    with pytest.raises(InputError, match="c3 sums to 100; expected shares"):
        fit_transition(c1, c2, c3 * 100)
    with pytest.raises(InputError, match="c1 has shape"):
        fit_transition(torch.ones(1), torch.ones(1, 1), torch.ones(1, 1, 1))


@pytest.mark.slow
@pytest.mark.shared
def test_the_authors_last_step_with_exact_shares(golden):
    """Their last step lies where the steps end up around the minimum: near the truth, never on it.

    Which of these places it is hangs on the last bit of every operation: the authors' own code, run on
    another processor, ends up to 0.009 away from the stored numbers. So the bound is on the distance.
    """
    path = golden / "hoc_fit.json"
    if not path.exists():
        pytest.skip("no hoc_fit.json in this folder")
    cases = [case for case in json.loads(path.read_text()) if case["params"].get("exact_statistics")]
    for case in cases:
        inputs, expected = case["inputs"], case["expected"]
        shares = Consensus(*(torch.tensor(inputs[name], dtype=torch.float64) for name in ("c1", "c2", "c3")))
        start = {
            "transition_logits": np.array(inputs["T_logits_init"]),
            "prior_logits": np.array(inputs["p_logits_init"]),
            "n_steps": case["params"]["max_step"],
        }
        last = fit_transition(*shares, **start, decay_from=1.0, keep="last")
        np.testing.assert_allclose(last.transition, expected["T"], atol=0.02)
        np.testing.assert_allclose(last.prior, expected["p"], atol=0.02)
        best = fit_transition(*shares, **start | {"n_steps": 501})
        np.testing.assert_allclose(best.transition, expected["true_T"], atol=1e-3)
        np.testing.assert_allclose(best.prior, expected["true_p"], atol=1e-3)
