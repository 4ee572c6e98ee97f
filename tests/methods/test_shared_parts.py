"""Parts that several methods share: lengths of phases, noise rates, verdicts from tables."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import InputError
from tamis.methods.material import Material
from tamis.methods.noise_rates import refuse_noise_rate, resolved_noise_rate
from tamis.methods.spans import refuse_span, span
from tamis.methods.target_verdict import verdict_of_targets

LABELS = torch.tensor([0, 1, 1, -1])


@pytest.mark.parametrize(
    ("value", "total", "expected"), [(0, 9, 0), (0.3, 200, 60), (0.5, 3, 2), (1, 9, 1), (12, 9, 12)]
)
def test_span(value, total, expected):
    refuse_span(value, "n")
    assert span(value, total) == expected


@pytest.mark.parametrize("value", [-1, -0.1, 1.5, float("nan"), float("inf")])
def test_no_span(value):
    with pytest.raises(InputError, match=r"warmup is .*; expected a whole number"):
        refuse_span(value, "warmup")


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "half", None])
def test_no_noise_rate(value):
    with pytest.raises(InputError, match="noise_rate is"):
        refuse_noise_rate(value)


def test_estimate_among_selected_rows_needs_their_scores():
    nan = float("nan")
    known = {"labels": LABELS, "n_classes": 2, "noise_rate": lambda: 0.4}
    selected = torch.tensor([True, True, False, False])
    scores = torch.tensor([0.9, nan, 0.1, 0.5])
    assert resolved_noise_rate("estimate", Material(**known, selected=selected)) == 0.4
    both = Material(**known, selected=selected, label_scores=scores)
    assert resolved_noise_rate("estimate", both) == pytest.approx(0.1)
    none = Material(**known, selected=selected, label_scores=torch.full((4,), nan))
    assert resolved_noise_rate("estimate", none) == 0.4
    assert resolved_noise_rate(0.25, both) == 0.25


def test_verdict_takes_the_network_where_the_table_knows_nothing():
    targets = torch.tensor([[0.2, 0.6], [0.0, 0.0], [0.5, 0.5], [0.3, 0.1]])
    network = torch.tensor([[0.9, 0.1]] * 4)
    is_known = torch.tensor([True, False, True, False])
    verdict = verdict_of_targets(targets, is_known, network, LABELS)
    assert torch.allclose(verdict.beliefs, torch.tensor([[0.25, 0.75], [0.9, 0.1], [0.5, 0.5], [0.9, 0.1]]))
    assert torch.allclose(verdict.clean_scores, torch.tensor([0.25, 0.1, 0.5, torch.nan]), equal_nan=True)
