"""What holds for every method of metric learning that looks at labels, whatever its formula."""

from __future__ import annotations

import pytest
import torch
from tests.methods.conftest import raw_precision_at_1

from tamis.errors import InputError
from tamis.methods import METHODS

HOW: dict[str, dict[str, object]] = {
    "metric": {},
    "prism": {"noise_rate": 0.2, "warmup": 0.5},
    "cbml": {"per_class": 4, "variance_weight": 0.1},
    "iaa": {"start": 0.2, "period": 2},
    "procsim": {"temperature": 1.0, "proxy_lr": 10.0},
    "ahsml": {},
}
MLP = {"backbone": "mlp", "options": {"hidden": (12,), "dropout": 0.3}, "epochs": 2}


@pytest.fixture(params=sorted(HOW))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_is_registered_for_retrieval_with_a_paper(name):
    facts = METHODS.facts(name)
    assert (facts.task, facts.inputs) == ("retrieval", ("any",))
    assert facts.year


def test_learns_and_doubts_wrong_labels(name, fit_embedding, plant_identities):
    run = fit_embedding(METHODS.get(name), epochs=20, **HOW[name])
    raw = raw_precision_at_1(plant_identities(12, 0.0, seed=99))  # the rows it was measured on
    assert run.precision_at_1 > raw + 0.1
    assert run.ranks_wrong_below_right() > 0.9


def test_is_a_function_of_the_seed(name, fit_embedding):
    first, second, other = (
        fit_embedding(METHODS.get(name), seed=seed, **MLP, **HOW[name]) for seed in (1, 1, 2)
    )
    assert first.is_same(second)
    assert not first.is_same(other, only="network")


@pytest.mark.parametrize("at_step", [2, 7])
def test_goes_on_after_a_kill_as_if_nothing_had_happened(name, at_step, fit_embedding, resumed_embedding):
    whole = fit_embedding(METHODS.get(name), **MLP, **HOW[name])
    again = resumed_embedding(METHODS.get(name), at_step=at_step, **MLP, **HOW[name])
    assert whole.is_same(again)
    scores = [run.training.verdict().clean_scores for run in (whole, again)]
    assert torch.equal(*scores)


def test_all_state_is_in_the_state_dict(name, fit_embedding):
    run, fresh = (fit_embedding(METHODS.get(name), epochs=epochs, **HOW[name]) for epochs in (3, 0))
    fresh.method.load_state_dict(run.method.state_dict())
    embeddings = [each.method.embeddings(each.training.scan) for each in (run, fresh)]
    assert torch.equal(*embeddings)
    assert fresh.is_same(run)


def test_class_codes_do_not_matter(name, fit_embedding, plant_identities):
    if name == "procsim":
        pytest.skip("its first proxies are drawn class by class")
    data, codes = plant_identities(), torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    renamed = data._replace(truth=codes[data.truth], given=codes[data.given])
    run, other = (fit_embedding(METHODS.get(name), each, **HOW[name]) for each in (data, renamed))
    embeddings = [each.method.embeddings(each.training.scan) for each in (run, other)]
    assert torch.allclose(*embeddings, atol=1e-4)
    assert torch.allclose(*(each.training.verdict().clean_scores for each in (run, other)), atol=1e-3)


def test_rows_out_of_the_initial_selection_are_not_trained_on(name, fit_embedding, plant_identities):
    data = plant_identities()
    selected = ~data.is_wrong
    garbled = data._replace(given=torch.where(selected, data.given, 0))
    run, other = (
        fit_embedding(METHODS.get(name), given, material={"selected": selected}, **HOW[name])
        for given in (data, garbled)
    )
    assert run.is_same(other, only="network")


def test_unlabelled_rows_get_a_suggestion_but_no_score(name, fit_embedding, plant_identities):
    data = plant_identities(rate=0.0)
    is_labelled = torch.arange(160) >= 20
    data = data._replace(given=data.given.masked_fill(~is_labelled, -1))
    verdict = fit_embedding(METHODS.get(name), data, **HOW[name]).training.verdict()
    assert torch.equal(verdict.clean_scores.isnan(), ~is_labelled)
    assert verdict.suggested.shape == (160,)
    assert verdict.beliefs.shape == (160, 0)


@pytest.mark.parametrize("case", ["two classes", "classes of one", "copies", "zeros", "one batch"])
def test_odd_sets_are_trained_on(name, case, fit_embedding, plant_identities):
    data, how = plant_identities(6), dict[str, object]()
    if case == "two classes":
        data = plant_identities(n_classes=2)
    elif case == "classes of one":
        # Classes 0 to 3 keep one row each, class 4 none.
        given = data.truth.clone()
        given[8:][given[8:] < 4] = 5
        data = data._replace(given=given.where(given != 4, 6))
    elif case == "copies":
        data = data._replace(inputs=data.inputs[data.truth])
    elif case == "zeros":
        # Before the network has a bias, a row of zeros has an embedding of zeros.
        data = data._replace(inputs=data.inputs.masked_fill((torch.arange(48) % 5 == 0)[:, None], 0.0))
    else:
        how = {"batch_size": 500}
    run = fit_embedding(METHODS.get(name), data, **how, **HOW[name])
    scores = run.training.verdict().clean_scores
    assert scores.isfinite().all()
    assert all(0 <= line["loss"] < float("inf") for line in run.records)


def test_a_set_without_pairs_is_refused(name, fit_embedding, plant_identities):
    data = plant_identities(1, 0.0)
    with pytest.raises(InputError, match="0 of 8 classes have two samples or more"):
        fit_embedding(METHODS.get(name), data, **HOW[name])


def test_mixed_precision(name, fit_embedding):
    mixed, full = (
        fit_embedding(METHODS.get(name), epochs=3, precision=precision, **HOW[name])
        for precision in ("bf16-mixed", "32-true")
    )
    assert mixed.records[-1]["loss"] == pytest.approx(full.records[-1]["loss"], rel=0.1)
