"""Iterative self-training: whose labels each round takes, reproducible coins, and a biased teacher."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError
from tamis.targets import choose_set, pseudo_labels, round_labels

POLICIES = ("gist", "rist", "mix")


def test_the_greedy_policy_takes_the_better_set():
    assert choose_set("gist", 0, 0, validation_scores={"trusted": 0.6, "pseudo": 0.7}) == "pseudo"
    assert choose_set("gist", 0, 0, validation_scores={"trusted": 0.7, "pseudo": 0.6}) == "trusted"
    assert choose_set("gist", 0, 0, validation_scores={"trusted": 0.7, "pseudo": 0.7}) == "trusted"


def test_the_random_policy_is_a_fair_reproducible_coin():
    coins = [choose_set("rist", number, 4) for number in range(1000)]
    assert coins == [choose_set("rist", number, 4) for number in range(1000)]
    assert coins != [choose_set("rist", number, 5) for number in range(1000)]
    assert abs(coins.count("pseudo") - 500) < 80
    turns = sum(a != b for a, b in pairwise(coins))
    assert abs(turns - 500) < 80
    # Scores have no part in it.
    assert choose_set("rist", 3, 4, validation_scores={"trusted": 1, "pseudo": 0}) == coins[3]


def test_the_mixture_is_fixed():
    assert {choose_set("mix", number, 0) for number in range(20)} == {"mixed"}


@pytest.mark.parametrize("policy", POLICIES)
def test_without_unlabelled_data_every_policy_is_plain_training(policy):
    given, everyone = torch.tensor([0, 2, 1]), torch.ones(3, dtype=torch.bool)
    for number in range(10):
        choice = choose_set(policy, number, 0, n_pseudo=0)
        found = round_labels(choice, given, everyone, [-1, -1, -1])
        assert torch.equal(found.labels, given)
        assert found.selected.all()


def test_the_labels_of_a_round():
    given, trusted, pseudo = (
        np.array([3, 1, -1, 0]),
        np.array([True, False, True, False]),
        np.array([0, 2, 1, -1]),
    )
    expected = {"trusted": [3, -1, -1, -1], "pseudo": [-1, 2, -1, -1], "mixed": [3, 2, -1, -1]}
    for choice, labels in expected.items():
        found = round_labels(choice, given, trusted, pseudo)
        assert found.labels.tolist() == labels
        assert found.selected.tolist() == [label >= 0 for label in labels]
        order = np.array([2, 0, 3, 1])
        moved = round_labels(choice, given[order], trusted[order], pseudo[order])
        assert moved.labels.tolist() == found.labels[order].tolist()
    assert given.tolist() == [3, 1, -1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose_set("greedy", 0, 0), "policy is 'greedy'"),
        (lambda: choose_set("gist", 0, 0), "needs the scores of both"),
        (lambda: choose_set("gist", 0, 0, validation_scores={"trusted": 1}), "needs the scores of both"),
        (lambda: choose_set("gist", 0, 0, validation_scores={"trusted": 1, "pseudo": np.nan}), "NaN"),
        (lambda: choose_set("mix", -1, 0), "step is -1"),
        (lambda: choose_set("rist", 0, 0.5), "seed is 0.5"),
        (lambda: round_labels("both", [0], [True], [0]), "choice is 'both'"),
        (lambda: round_labels("mixed", [0], [1], [0]), "trusted has .*int64"),
        (lambda: round_labels("mixed", [0], [True, False], [0]), r"expected a mask, shape \(1,\)"),
        (lambda: round_labels("mixed", [0], [True], [0, 1]), r"expected .* shape \(1,\)"),
        (lambda: round_labels("mixed", [-2], [True], [0]), "row 0 is -2"),
    ],
)
def test_illegal_arguments(call, message):
    with pytest.raises(InputError, match=message):
        call()


def trained(weight, rows, labels, steps=60):
    """Return the weights after some steps of logistic regression with weight decay."""
    for _ in range(steps):
        weight = weight.clone().requires_grad_()
        loss = cross_entropy(rows @ weight.T, labels) + 0.1 * weight.square().sum()
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.5 * gradient).detach()
    return weight


def accuracies(policy, seed, rounds=14):
    """Return the test accuracy before and after each round; the first teacher is right 70 % of the time."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 10, generator=generator)
    centres = 2.5 * centres / centres.norm(dim=1, keepdim=True)
    truth = torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), 1500, replacement=True, generator=generator)
    rows = centres[truth] + torch.randn(1500, 10, generator=generator)
    rows = torch.cat([rows, torch.ones(1500, 1)], dim=1)
    trusted = torch.arange(900) < 60
    best = torch.cat([centres, -0.5 * centres.square().sum(dim=1, keepdim=True)], dim=1)

    def accuracy(weight, part):
        return ((rows[part] @ weight.T).argmax(dim=1) == truth[part]).double().mean().item()

    bias, strength = torch.randn(best.shape, generator=generator), 0.0
    while accuracy(best + strength * bias, slice(1100, 1500)) > 0.7:
        strength += 0.05
    weight = best + strength * bias
    found = [accuracy(weight, slice(1100, 1500))]
    for number in range(rounds):
        pseudo = pseudo_labels((rows[:900] @ weight.T).softmax(dim=1)).labels

        def candidate(choice, weight=weight, pseudo=pseudo):
            labels, selected = round_labels(choice, truth[:900], trusted, pseudo)
            return trained(weight, rows[:900][selected], labels[selected])

        scores = None
        if policy == "gist":
            scores = {name: accuracy(candidate(name), slice(900, 1100)) for name in ("trusted", "pseudo")}
        weight = candidate(choose_set(policy, number, seed, validation_scores=scores))
        found.append(accuracy(weight, slice(1100, 1500)))
    return found


def test_a_biased_teacher():
    """The mixture falls behind its best round and keeps the teacher's mistakes; the policies do neither."""
    curves = {policy: np.array([accuracies(policy, seed) for seed in range(4)]) for policy in POLICIES}
    mean = {policy: curve.mean(axis=0) for policy, curve in curves.items()}
    assert abs(mean["mix"][0] - 0.69) < 0.02
    assert mean["mix"][-1] < mean["mix"][len(mean["mix"]) // 2]
    assert curves["mix"][:, -1].min() < 0.8
    for policy in ("rist", "gist"):
        assert mean[policy][-1] > mean["mix"][-1] + 0.025
        assert curves[policy][:, -1].min() > 0.85
        assert mean[policy][-1] > mean[policy].max() - 0.02
