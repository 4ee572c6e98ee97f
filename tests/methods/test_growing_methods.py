"""What holds for the methods that select for themselves: DivideMix, MixFix, self-training."""

from __future__ import annotations

import pytest
import torch

from tamis.methods import METHODS

HOW: dict[str, dict[str, object]] = {
    "dividemix": {"warm_up": 2, "rampup_length": 4},
    "mixfix": {"n_neighbors": 10},
    "gist": {"round_length": 2},
    "rist": {"round_length": 2},
    "mix": {"round_length": 2},
}
LONG = {"epochs": 8, "batch_size": 25, "lr": 0.1}
MLP = {"backbone": "mlp", "options": {"hidden": (8,), "dropout": 0.5}, "batch_size": 25}


@pytest.fixture(params=sorted(HOW))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_is_registered_with_a_paper(name):
    facts = METHODS.facts(name)
    assert facts.inputs == ("any",)
    assert facts.paper.endswith(f"{facts.year}.")


def test_learns_and_doubts_wrong_labels(name, fit):
    run = fit(METHODS.get(name), **LONG, **HOW[name])
    assert run.accuracy > 0.9
    assert run.ranks_wrong_below_right() > 0.9
    assert torch.allclose(run.beliefs().sum(dim=1), torch.ones(150))


@pytest.mark.parametrize("at_step", [3, 14, 23])
def test_goes_on_after_a_kill_as_if_nothing_had_happened(name, at_step, fit, resumed):
    whole = fit(METHODS.get(name), **MLP, **HOW[name])
    again = resumed(METHODS.get(name), at_step=at_step, **MLP, **HOW[name])
    assert whole.is_same(again)
    assert torch.equal(whole.beliefs(), again.beliefs())
    other = fit(METHODS.get(name), seed=1, **MLP, **HOW[name])
    assert not whole.is_same(other, only="network")


def test_class_codes_do_not_matter(name, fit, plant):
    data, codes = plant(), torch.tensor([2, 0, 1])
    renamed = data._replace(truth=codes[data.truth], given=codes[data.given])
    run = fit(METHODS.get(name), data, zero_head=True, **HOW[name])
    other = fit(METHODS.get(name), renamed, zero_head=True, **HOW[name])
    assert torch.allclose(run.beliefs(), other.beliefs()[:, codes], atol=1e-5)


def test_starts_from_the_initial_selection(name, fit, plant):
    data = plant(rate=0.6)
    run = fit(METHODS.get(name), data, material={"selected": ~data.is_wrong}, **LONG, **HOW[name])
    alone = fit(METHODS.get(name), data, **LONG, **HOW[name])
    assert run.accuracy > 0.9
    assert run.ranks_wrong_below_right() > alone.ranks_wrong_below_right()


def test_unlabelled_rows_are_used_and_get_no_score(name, fit, plant):
    data = plant()
    unlabelled = torch.zeros(150, dtype=torch.bool)
    unlabelled[:60] = True
    data = data._replace(given=data.given.masked_fill(unlabelled, -1))
    run = fit(METHODS.get(name), data, **LONG, **HOW[name])
    verdict = run.training.verdict()
    assert torch.equal(verdict.clean_scores.isnan(), unlabelled)
    assert (verdict.suggested == data.truth)[unlabelled].float().mean() > 0.9


@pytest.mark.filterwarnings("ignore:the mixture on the losses", "ignore:no label of")
@pytest.mark.parametrize("case", ["one class", "empty class", "last batch of one", "one row"])
def test_odd_sets_are_trained_on(name, case, fit, plant):
    data, how = plant(33), {"batch_size": 32}
    if case == "one class":
        data = data._replace(given=torch.zeros(33, dtype=torch.int64))
    elif case == "empty class":
        data = data._replace(given=data.given.clamp(max=1))
    elif case == "last batch of one":
        how |= {"backbone": "mlp", "options": {"hidden": (8,), "norm": "batch"}}
    else:
        data = type(data)(*(part[2:3] for part in data))
    run = fit(METHODS.get(name), data, **how, **HOW[name])
    assert run.beliefs().isfinite().all()


def test_two_classes(name, fit, plant):
    assert fit(METHODS.get(name), plant(n_classes=2), **LONG, **HOW[name]).accuracy > 0.9


def test_mixed_precision(name, fit):
    assert fit(METHODS.get(name), **LONG, precision="bf16-mixed", **HOW[name]).accuracy > 0.9
