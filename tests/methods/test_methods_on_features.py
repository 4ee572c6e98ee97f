"""What holds for every method on features, whatever its formula."""

from __future__ import annotations

import pytest
import torch

from tamis.methods import METHODS

RATE = {"noise_rate": 0.3, "n_gradual": 2}
HOW: dict[str, dict[str, object]] = {
    "cross_entropy": {"lr": 0.03},
    "gce": {"lr": 0.1},
    "sce": {"lr": 0.1},
    "truncated_gce": {"lr": 0.1},
    "elr": {"lr": 0.1},
    "elr_plus": {"lr": 0.1},
    "sat": {"lr": 0.05},
    "co_teaching": {"lr": 0.03, **RATE},
    "jocor": {"lr": 0.1, "co_lambda": 0.5, **RATE},
    "bare": {"lr": 0.03, "warmup": 2},
}
LONG = {"epochs": 10, "batch_size": 25}
EXACT = sorted(set(HOW) - {"elr_plus"})  # mixup draws partners by their place in the batch


@pytest.fixture(params=sorted(HOW))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_is_registered_with_a_paper(name):
    facts = METHODS.facts(name)
    assert facts.inputs == ("any",)
    assert name == "cross_entropy" or (facts.year and facts.paper.endswith(f"{facts.year}."))


def test_learns_and_doubts_wrong_labels(name, fit):
    run = fit(METHODS.get(name), **LONG, **HOW[name])
    assert run.accuracy > 0.9
    assert run.ranks_wrong_below_right() > 0.9
    assert torch.allclose(run.beliefs().sum(dim=1), torch.ones(150))


def test_is_a_function_of_the_seed(name, fit):
    mlp = {"backbone": "mlp", "options": {"hidden": (8,), "dropout": 0.5}, "epochs": 2}
    first, second, other = (fit(METHODS.get(name), seed=seed, **mlp, **HOW[name]) for seed in (1, 1, 2))
    assert first.is_same(second)
    assert not first.is_same(other, only="network")


@pytest.mark.parametrize("at_step", [2, 4])
def test_goes_on_after_a_kill_as_if_nothing_had_happened(name, at_step, fit, resumed):
    mlp = {"backbone": "mlp", "options": {"hidden": (8,), "dropout": 0.5}, "epochs": 2}
    whole = fit(METHODS.get(name), **mlp, **HOW[name])
    again = resumed(METHODS.get(name), at_step=at_step, **mlp, **HOW[name])
    assert whole.is_same(again)
    assert torch.equal(whole.beliefs(), again.beliefs())


def test_class_codes_do_not_matter(name, fit, plant):
    data, codes = plant(), torch.tensor([2, 0, 1])
    renamed = data._replace(truth=codes[data.truth], given=codes[data.given])
    run = fit(METHODS.get(name), data, zero_head=True, **HOW[name])
    other = fit(METHODS.get(name), renamed, zero_head=True, **HOW[name])
    assert torch.allclose(run.beliefs(), other.beliefs()[:, codes], atol=1e-5)


@pytest.mark.parametrize("name", EXACT)
def test_row_order_does_not_matter_within_a_batch(name, fit, plant):
    data = plant(60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    shuffled = data._replace(inputs=data.inputs[order], truth=data.truth[order], given=data.given[order])
    run = fit(METHODS.get(name), data, batch_size=60, **HOW[name])
    other = fit(METHODS.get(name), shuffled, batch_size=60, **HOW[name])
    assert torch.allclose(run.beliefs()[order], other.beliefs(), atol=1e-5)


def test_rows_out_of_the_initial_selection_are_not_trained_on(name, fit, plant):
    data = plant()
    selected = ~data.is_wrong
    garbled = data._replace(given=torch.where(selected, data.given, 0))
    run, other = (
        fit(METHODS.get(name), given, material={"selected": selected}, **LONG, **HOW[name])
        for given in (data, garbled)
    )
    assert run.is_same(other, only="network")
    assert run.accuracy > 0.9
    assert run.ranks_wrong_below_right() > 0.95


def test_unlabelled_rows_get_beliefs_but_no_score(name, fit, plant):
    data = plant()
    unlabelled = torch.zeros(150, dtype=torch.bool)
    unlabelled[:50] = True
    data = data._replace(given=data.given.masked_fill(unlabelled, -1))
    verdict = fit(METHODS.get(name), data, **LONG, **HOW[name]).training.verdict()
    assert torch.equal(verdict.clean_scores.isnan(), unlabelled)
    assert torch.allclose(verdict.beliefs.sum(dim=1), torch.ones(150))
    assert (verdict.suggested == data.truth)[unlabelled].float().mean() > 0.85


@pytest.mark.parametrize("case", ["one class", "empty class", "last batch of one", "one batch", "one row"])
def test_odd_sets_are_trained_on(name, case, fit, plant):
    norm = {"backbone": "mlp", "options": {"hidden": (8,), "norm": "batch"}}
    data, how = plant(33), {"batch_size": 32}
    if case == "one class":
        data = data._replace(given=torch.zeros(33, dtype=torch.int64))
    elif case == "empty class":
        data = data._replace(given=data.given.clamp(max=1))
    elif case == "last batch of one":
        how = {"batch_size": 32, **norm}
    elif case == "one batch":
        how = {"batch_size": 64, **norm}
    else:
        data = type(data)(*(part[2:3] for part in data))
    run = fit(METHODS.get(name), data, **how, **HOW[name])
    assert run.beliefs().isfinite().all()


@pytest.mark.filterwarnings("ignore:kappa is 1.0 with 2 classes")
def test_two_classes(name, fit, plant):
    run = fit(METHODS.get(name), plant(n_classes=2), **LONG, **HOW[name])
    assert run.accuracy > 0.9


def test_mixed_precision(name, fit):
    run = fit(METHODS.get(name), **LONG, precision="bf16-mixed", **HOW[name])
    assert run.accuracy > 0.9


def test_double_precision(name, fit, plant):
    data = plant()
    data = data._replace(inputs=data.inputs.double())
    with torch.random.fork_rng():
        torch.set_default_dtype(torch.float64)
        try:
            run = fit(METHODS.get(name), data, epochs=1, **HOW[name])
        finally:
            torch.set_default_dtype(torch.float32)
    assert run.method.network.head.weight.dtype == torch.float64
