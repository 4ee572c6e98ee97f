"""The positive-unlabelled discriminator behind weights from a trusted set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn.functional import softplus

from tamis.errors import InputError
from tamis.statistics.trusted_discriminator import Inputs, fit_discriminator


def sets(n_trusted=60, n_mixed=200, rate=0.4, k=3, seed=0, apart=2.0):
    """Return trusted and mixed inputs, and which mixed rows are wrong."""
    rng = np.random.default_rng(seed)
    is_wrong = np.concatenate([np.zeros(n_trusted, bool), rng.random(n_mixed) < rate])
    n = len(is_wrong)
    shared = rng.normal(size=(n, 2)) - apart * is_wrong[:, None] * [1.0, 0.0]
    by_class, labels = rng.normal(size=(n, 2)), rng.integers(0, k, n)
    by_class[is_wrong, 1] += np.array([2.0, -2.0, 0.0])[labels[is_wrong] % 3]
    whole = Inputs(torch.from_numpy(shared), torch.from_numpy(by_class), torch.from_numpy(labels))
    return take(whole, slice(0, n_trusted)), take(whole, slice(n_trusted, n)), is_wrong[n_trusted:]


def take(inputs, rows):
    return Inputs(*(part[rows] for part in inputs))


def objective(model_logits, trusted, mixed, prior):
    at_trusted, at_mixed = model_logits(trusted), model_logits(mixed)
    negative = softplus(at_mixed).mean() - prior * softplus(at_trusted).mean()
    return float(prior * softplus(-at_trusted).mean() + negative.clamp(min=0))


def full_objective(vector, trusted, mixed, prior, pooling, k):
    """The specification's formula and the penalty, from a flat vector of parameters."""
    shared, own = torch.from_numpy(vector[:3]), torch.from_numpy(vector[3:].reshape(k, 3))

    def logits(inputs):
        z = (own[inputs.labels][:, :2] * inputs.by_class).sum(dim=1) + own[inputs.labels][:, 2]
        return inputs.shared @ shared[:2] + shared[2] + z

    penalty = 1e-3 * shared[:2].square().sum() + pooling / len(trusted.labels) * own.square().sum()
    return objective(logits, trusted, mixed, prior) + prior * float(penalty) / 2


@pytest.mark.parametrize("prior", [0.1, 0.5, 0.9])
def test_no_other_parameters_are_better(prior):
    trusted, mixed, _ = sets()
    model = fit_discriminator(trusted, mixed, 3, prior=prior, pooling=1.0)
    assert model.clipped > -1e-5
    assert (model.clipped < 1e-5) == (prior == 0.9)  # there the clip decides
    found = np.concatenate([model.shared.numpy(), model.by_class.numpy().ravel()])
    best = full_objective(found, trusted, mixed, prior, 1.0, 3)
    rng = np.random.default_rng(0)
    for start in (found, rng.normal(size=12)):
        other = minimize(full_objective, start, (trusted, mixed, prior, 1.0, 3), method="Powell")
        assert best <= other.fun + 1e-6


def test_equal_sets_give_equal_weights():
    trusted, _, _ = sets(n_trusted=300)
    model = fit_discriminator(trusted, trusted, 3, prior=0.3)
    np.testing.assert_allclose(torch.sigmoid(model.logits(trusted)), 0.3, atol=1e-5)


def test_a_prior_of_nearly_zero_gives_a_plain_classifier():
    trusted, mixed, _ = sets(n_trusted=100, n_mixed=100)
    prior = 1e-4
    model = fit_discriminator(trusted, mixed, 3, prior=prior, pooling=1e9)

    def plain(vector):
        weights = torch.from_numpy(vector)
        positive, negative = (part.shared @ weights[:2] + weights[2] for part in (trusted, mixed))
        loss = prior * softplus(-positive).mean() + softplus(negative).mean()
        return float(loss / prior + 1e-3 * weights[:2].square().sum() / 2)

    found = minimize(
        plain, np.array([0.0, 0.0, np.log(prior)]), method="Nelder-Mead", options={"maxiter": 5000}
    )
    np.testing.assert_allclose(model.shared, found.x, atol=0.02)


@pytest.mark.parametrize("prior", [0.5, 0.9])
def test_order_of_rows_and_of_classes_does_not_matter(prior):
    trusted, mixed, _ = sets()
    rng = np.random.default_rng(1)
    first = fit_discriminator(trusted, mixed, 3, prior=prior, pooling=1.0)
    order, codes = rng.permutation(200), torch.tensor([2, 0, 1])
    second = fit_discriminator(
        take(trusted, rng.permutation(60)), take(mixed, order), 3, prior=prior, pooling=1.0
    )
    renamed = (part._replace(labels=codes[part.labels]) for part in (trusted, mixed))
    third = fit_discriminator(*renamed, 3, prior=prior, pooling=1.0)
    want = torch.sigmoid(first.logits(mixed))
    np.testing.assert_allclose(torch.sigmoid(second.logits(mixed)), want, atol=1e-5)
    again = torch.sigmoid(third.logits(mixed._replace(labels=codes[mixed.labels])))
    np.testing.assert_allclose(again, want, atol=1e-5)


def test_wrong_rows_are_told_apart_and_classes_go_their_own_ways():
    trusted, mixed, is_wrong = sets(n_trusted=600, n_mixed=3000, apart=1.0)
    together = fit_discriminator(trusted, mixed, 3, prior=0.5, pooling=1e9).logits(mixed).numpy()
    apart = fit_discriminator(trusted, mixed, 3, prior=0.5, pooling=1.0).logits(mixed).numpy()

    def gap(logits):
        return (logits[~is_wrong].mean() - logits[is_wrong].mean()) / logits.std()

    assert gap(apart) > gap(together) + 0.1
    assert gap(together) > 0.5


def test_a_class_without_trusted_rows_is_judged_by_what_is_shared():
    trusted, mixed, _ = sets()
    rest = take(trusted, trusted.labels != 1)
    model = fit_discriminator(rest, mixed, 4, prior=0.5, pooling=1.0)
    assert (model.by_class[[1, 3]] == 0).all()
    assert (model.by_class[[0, 2]] != 0).all()
    assert torch.isfinite(model.logits(mixed)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior": 0.0}, "prior is 0.0; expected a share above 0 and below 1"),
        ({"prior": 1.0}, "prior is 1.0"),
        ({"prior": 0.5, "pooling": 0.0}, "pooling is 0.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    trusted, mixed, _ = sets(5, 5)
    with pytest.raises(InputError, match=message):
        fit_discriminator(trusted, mixed, 3, **settings)
    with pytest.raises(InputError, match="there are 0 trusted rows and 5 others"):
        fit_discriminator(take(trusted, slice(0)), mixed, 3, prior=0.5)
