"""What every noise model promises: same seed, legal codes, a fitting mask, rates as defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import tamis.noise as models
from tamis.errors import InputError
from tamis.noise import NOISE_MODELS, AnnotatorPool, NoisyLabels

K, N = 10, 20_000
LABELS = np.arange(N) % K
FEATURES = np.random.default_rng(0).normal(size=(N, 4))
ONTOLOGY = {0: "a", 1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c", 7: "c", 8: "c", 9: None}
TRANSITION = 0.6 * np.eye(K) + 0.4 * np.roll(np.eye(K), 3, axis=1)
EMBEDDINGS = np.random.default_rng(1).normal(size=(K, 6))
CONFUSIONS = models.one_coin_confusions(20, K)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "noise.md"

Model = Callable[..., NoisyLabels]


def _pool(rule: str) -> Model:
    def draw(labels, random_state=0):
        pool = models.annotator_pool(labels, CONFUSIONS, 3, random_state)
        return getattr(pool, rule)()

    return draw


def _bound(model: Model, **fixed: object) -> Model:
    return lambda labels, random_state=0: model(labels, **fixed, random_state=random_state)


def _with_features(model: Model, **fixed: object) -> Model:
    def draw(labels, random_state=0):
        return model(labels, FEATURES[: len(labels)], **fixed, random_state=random_state)

    return draw


# Whatever is i.i.d. given the clean labels: a longer set starts with the same labels.
PER_SAMPLE: Mapping[str, Model] = {
    "symmetric": _bound(models.symmetric),
    "pair_flip": _bound(models.pair_flip, rate=0.45),
    "asymmetric": _bound(models.asymmetric),
    "asymmetric_cifar100": _bound(models.asymmetric_cifar100, fine_to_coarse=LABELS[:K] // 3),
    "asymmetric_cifar100 swap": _bound(
        models.asymmetric_cifar100, blocks="consecutive_swap", fine_to_coarse=LABELS[:K]
    ),
    "class_conditional": _bound(models.class_conditional, transition=TRANSITION),
    "instance_dependent": _with_features(models.instance_dependent),
    "instance_dependent shared": _with_features(models.instance_dependent, per_class_projection=False),
    "semantic": _bound(models.semantic, ontology=ONTOLOGY),
    "semantic wide": _bound(models.semantic, ontology=ONTOLOGY, levels=2, weighting="tree_distance"),
    "semantic_similarity": _bound(models.semantic_similarity, class_embeddings=EMBEDDINGS),
    "open_set": _bound(models.open_set, closed_rate=0.1, open_labels="uniform", n_foreign=N),
    "annotator_pool majority": _pool("majority"),
    "annotator_pool worst": _pool("worst"),
    "annotator_pool random": _pool("random"),
}
WHOLE_SET: Mapping[str, Model] = {
    "small_cluster": lambda labels, random_state=0: models.small_cluster(
        labels, FEATURES[: len(labels)], 0.25, random_state=random_state
    ),
    "pair_flip global": _bound(models.pair_flip, exact="global"),
    "asymmetric per class": _bound(models.asymmetric, exact="per_class"),
}
ALL = PER_SAMPLE | WHOLE_SET
SMALL = LABELS[:600]


def test_every_registered_model_is_tried_here() -> None:
    assert {name.split()[0] for name in ALL} == set(NOISE_MODELS.names())


@pytest.mark.parametrize("name", NOISE_MODELS.names())
def test_the_registry_states_what_is_needed(name: str) -> None:
    entry = NOISE_MODELS.entry(name)
    parameters = inspect.signature(entry.target).parameters
    assert next(iter(parameters)) == "labels"
    assert "random_state" in parameters
    assert set(entry.facts.inputs) <= set(parameters)
    assert getattr(models, name) is entry.target
    assert f"`tamis.noise.{name}(" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_labels(name: str) -> None:
    first, again, other = ALL[name](SMALL), ALL[name](SMALL), ALL[name](SMALL, random_state=1)
    assert first.digest == again.digest != other.digest
    np.testing.assert_array_equal(first.labels, again.labels)


@pytest.mark.parametrize("name", ALL)
def test_labels_mask_and_names(name: str) -> None:
    noisy = ALL[name](SMALL)
    assert noisy.labels.dtype == np.int64
    assert noisy.labels.min() >= 0
    assert noisy.labels.max() < noisy.n_classes
    names = np.arange(K) if noisy.class_ids is None else noisy.class_ids
    np.testing.assert_array_equal(noisy.is_wrong, (names[noisy.labels] != SMALL) | noisy.is_open)
    assert noisy.realised_rate == noisy.is_wrong.mean()
    assert noisy.open_rate + noisy.closed_rate == pytest.approx(noisy.realised_rate)
    assert noisy.model == name.split()[0]
    assert noisy.convention
    assert 0 <= noisy.nominal_rate <= 1
    assert not any(array.flags.writeable for array in (noisy.labels, noisy.is_wrong, noisy.true_labels))


@pytest.mark.parametrize("name", ALL)
def test_realised_rate_is_the_expected_one(name: str) -> None:
    noisy = ALL[name](LABELS)
    if noisy.expected_rate is not None:
        # Four standard errors of a share of N.
        assert abs(noisy.realised_rate - noisy.expected_rate) < 4 * np.sqrt(0.25 / N)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_transition_sums_to_one_and_comes_out(name: str) -> None:
    noisy = PER_SAMPLE[name](LABELS)
    np.testing.assert_allclose(noisy.realised_transition.sum(axis=1), 1)
    if noisy.transition is not None:
        np.testing.assert_allclose(noisy.transition.sum(axis=1), 1)
        assert noisy.transition.min() >= 0
        atol = 4.5 * np.sqrt(0.25 / (N / K * (1 - noisy.open_rate)))
        np.testing.assert_allclose(noisy.realised_transition, noisy.transition, atol=atol)


def test_realised_transition_converges_with_the_root_of_n() -> None:
    errors = []
    for size in (2_000, 200_000):
        noisy = models.class_conditional(np.arange(size) % K, TRANSITION)
        errors.append(np.abs(noisy.realised_transition - TRANSITION).max() * np.sqrt(size / K))
    assert max(errors) < 4 * 0.5
    assert min(errors) > 0.1


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_longer_set_starts_with_the_same_labels(name: str) -> None:
    whole, start = PER_SAMPLE[name](SMALL), PER_SAMPLE[name](SMALL[:123])
    np.testing.assert_array_equal(whole.labels[:123], start.labels)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_another_clean_label_changes_its_own_row_only(name: str) -> None:
    changed = SMALL.copy()
    changed[10] = 5
    whole, other = PER_SAMPLE[name](SMALL), PER_SAMPLE[name](changed)
    np.testing.assert_array_equal(np.delete(whole.labels, 10), np.delete(other.labels, 10))


@pytest.mark.parametrize("name", [each for each in PER_SAMPLE if "pool" not in each])
def test_no_samples(name: str) -> None:
    noisy = PER_SAMPLE[name](np.zeros(0, dtype=np.int64))
    assert len(noisy.labels) == 0
    assert (noisy.realised_rate, noisy.open_rate) == (0, 0)
    assert noisy.expected_rate == 0
    assert noisy.top_confusions() == []
    assert np.isnan(noisy.realised_transition).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, -1], "row 1 is -1"), ([0, K], f"row 1 is {K}"), ([0.0, 1.0], "dtype float64"), ([[0]], "shape")],
)
def test_labels_outside_the_classes_are_refused(name: str, labels: list[object], message: str) -> None:
    if name == "small_cluster" and K in labels:
        pytest.skip("counts the classes itself")
    with pytest.raises(InputError, match=message):
        ALL[name](np.array(labels))


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (models.pair_flip, {}),
        (models.asymmetric, {"mapping": {3: 5}}),
        (models.asymmetric_cifar100, {"fine_to_coarse": [0] * K}),
        (models.instance_dependent, {"features": FEATURES[:4]}),
        (models.small_cluster, {"features": FEATURES[:4]}),
        (models.semantic, {"ontology": ONTOLOGY}),
        (models.semantic_similarity, {"class_embeddings": EMBEDDINGS}),
        (models.open_set, {}),
    ],
)
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "0.4", True])
def test_rates_outside_0_to_1_are_refused(model: Model, arguments: dict[str, object], rate: object) -> None:
    with pytest.raises(InputError, match="rate must be a number from 0 to 1"):
        model([0, 1, 2, 3], rate=rate, **arguments)


@pytest.mark.parametrize("model", [models.pair_flip, models.asymmetric, models.open_set])
def test_one_class_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="n_classes must be a whole number of at least 2"):
        model([0, 0], n_classes=1)


@pytest.mark.parametrize("name", ALL)
def test_wrong_seeds_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="random_state must be"):
        ALL[name](SMALL, random_state=-1)


def test_models_do_not_share_draws() -> None:
    masks = [models.pair_flip(SMALL).is_wrong, models.symmetric(SMALL).is_wrong]
    masks.append(models.semantic(SMALL, ONTOLOGY).is_wrong)
    assert len({mask.tobytes() for mask in masks}) == len(masks)


def test_a_crowd_is_a_pool() -> None:
    assert isinstance(models.annotator_pool([0, 1], CONFUSIONS), AnnotatorPool)
