"""What trials are run on: planted labels, derived evidence, crowds, trusted rows."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.benchmarks.candidates import applicable, needs
from tamis.benchmarks.config import DataConfig, NoiseConfig
from tamis.benchmarks.detection import settings
from tamis.benchmarks.material import gather, offered_inputs
from tamis.benchmarks.planting import plant
from tamis.benchmarks.reading import parse_config
from tamis.detectors import DETECTORS
from tamis.errors import InputError
from tamis.noise import open_set, small_cluster, symmetric

from .conftest import CROWD, GIVEN, PLANTED, SYMMETRIC


def located(table, arrays):
    keys = {"features", "pred_probs", "labels", "truth", "is_wrong", "answers"}
    return DataConfig(**{key: f"{arrays}/{value}" if key in keys else value for key, value in table.items()})


def test_given_labels_and_derived_probabilities(arrays):
    data = located(GIVEN | {"trusted": 20, "rows": 120}, arrays)
    made = gather(data, None, 0)
    assert set(made.inputs) == offered_inputs(data) == {"features", "pred_probs", "losses", "trusted"}
    assert made.derived == {"pred_probs"}
    assert made.realised_rate == 15 / 120
    probs = made.inputs["pred_probs"]
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(made.inputs["losses"], -np.log(probs[np.arange(120), made.labels]))
    trusted = made.inputs["trusted"]
    assert trusted.sum() == 20
    assert not (trusted & made.is_wrong).any()
    assert (gather(data, None, 0).inputs["trusted"] == trusted).all()
    assert (gather(data, None, 1).inputs["trusted"] != trusted).any()


def test_probabilities_that_the_data_bring(arrays):
    data = located(
        {"name": "p", "pred_probs": "y.npz:probs", "labels": "y.npz:labels", "is_wrong": "y.npz:is_wrong"},
        arrays,
    )
    made = gather(data, None, 0)
    assert set(made.inputs) == offered_inputs(data) == {"pred_probs", "losses"}
    assert made.derived == frozenset()
    assert made.truth is None
    assert made.is_wrong.sum() == 15


@pytest.mark.parametrize("model", ["symmetric", "pair_flip", "instance_dependent"])
def test_planted_labels_are_those_of_the_noise_model(model, arrays):
    data = located(PLANTED | {"pred_probs": "y.npz:probs"}, arrays)
    noise = NoiseConfig(model=model, rate=0.3)
    made, again, other = (gather(data, noise, seed) for seed in (0, 0, 1))
    assert (made.labels == again.labels).all()
    assert made.planted.digest == again.planted.digest != other.planted.digest
    assert made.planted.nominal_rate == 0.3
    assert 0.15 < made.realised_rate < 0.45
    assert (made.is_wrong == (made.labels != made.truth)).all()
    if model == "symmetric":
        assert (made.labels == symmetric(made.truth, 0.3, n_classes=3, random_state=0).labels).all()


def test_models_that_renumber_classes_or_know_no_right_one():
    truth = np.arange(120) % 6
    features = np.random.default_rng(0).normal(size=(120, 3))
    found = plant(NoiseConfig(model="small_cluster", rate=0.3), truth, 0, features)
    direct = small_cluster(truth, features, 0.3, n_classes=6, random_state=0)
    assert (found.is_wrong == direct.is_wrong).all()
    assert ((found.truth != found.labels) == found.is_wrong).all()
    found = plant(NoiseConfig(model="open_set", rate=0.3), truth, 0, None)
    direct = open_set(truth, 0.3, n_classes=6, random_state=0)
    assert (found.truth[direct.is_open] == -1).all()


def test_models_that_a_benchmark_cannot_plant():
    truth = np.arange(30) % 3
    with pytest.raises(InputError, match="needs features"):
        plant(NoiseConfig(model="instance_dependent", rate=0.3), truth, 0, None)
    with pytest.raises(InputError, match="needs transition"):
        plant(NoiseConfig(model="class_conditional", rate=0.3), truth, 0, None)


def test_a_crowd_is_judged_by_task(arrays):
    made = gather(located(CROWD, arrays), None, 0)
    stored = np.load(arrays / "crowd.npz", allow_pickle=False)
    assert len(made.labels) == 40
    for place, task in enumerate(range(1, 41)):
        said = stored["label"][stored["task"] == task]
        assert made.labels[place] == np.bincount(said, minlength=3).argmax()
        assert made.truth[place] == stored["truth"][task]
    assert (made.is_known == (made.truth >= 0)).all()
    assert made.given_labels() == dict(zip(range(1, 41), made.labels.tolist(), strict=True))
    table = made.answer_table()
    assert table["task"].is_monotonic_increasing
    assert (table["given_label"] == table["task"].map(made.given_labels())).all()


def test_a_crowd_with_labels_of_its_own(arrays):
    labels = np.where(np.arange(42) % 2 == 0, 2, -1)
    np.save(arrays / "given.npy", labels)
    made = gather(located(CROWD | {"labels": "given.npy"}, arrays), None, 0)
    plain = gather(located(CROWD, arrays), None, 0)
    assert (made.labels[1::2] == 2).all()
    assert (made.labels[::2] == plain.labels[::2]).all()


def test_every_detector_finds_its_inputs_or_is_left_out():
    everything = frozenset({"features", "second_features", "pred_probs", "losses", "trusted", "answers"})
    names = applicable(everything, ("all",))
    assert names[0] == "audit"
    assert set(DETECTORS.names()) - set(names) == {"clipcleaner"}
    assert "crowdlab" not in applicable(frozenset({"answers"}), ("all",))
    assert (
        applicable(frozenset({"features"}), ("neighbor_vote", "all", "neighbor_vote"))[0] == "neighbor_vote"
    )
    assert "mismatched_pairs" not in applicable(frozenset({"features"}), ("all",))


def test_a_peer_takes_what_its_parameters_name(tmp_path):
    path = tmp_path / "peer.py"
    path.write_text("def f(labels, answers, *, pred_probs, colour=1, **rest): ...", encoding="utf-8")
    assert needs(f"{path}:f") == ("labels", "answers", "pred_probs")
    assert applicable(frozenset({"answers"}), (f"{path}:f",)) == []


def test_settings_are_data_by_noise_by_seed():
    noise = [SYMMETRIC, {"model": "pair_flip", "rate": 0.1}]
    config = parse_config({"data": [GIVEN, PLANTED, CROWD], "noise": noise, "seeds": [3, 4]})
    found = [(each.data.name, each.noise and each.noise.model, each.seed) for each in settings(config)]
    planted = [("planted", model, seed) for model in ("symmetric", "pair_flip") for seed in (3, 4)]
    assert found == [("toy", None, 3), *planted, ("crowd", None, 3)]
