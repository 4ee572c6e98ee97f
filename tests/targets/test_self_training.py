"""Iterative self-training: whose labels each round takes, reproducible coins, and a biased teacher."""

from __future__ import annotations

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
    turns = sum(a != b for a, b in zip(coins, coins[1:], strict=False))
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
