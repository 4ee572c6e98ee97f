"""Semantic noise: ontologies in every form, relatives, fallback; embeddings of class names."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.noise import CIFAR100_FINE_TO_COARSE, semantic, semantic_similarity
from tamis.noise.ontology import ClassTree

NAMES = ["car", "cat", "dog", "oak", "rose", "truck"]
NESTED = {"animal": {"pet": ["cat", "dog"]}, "vehicle": {"car": {}, "truck": None}, "plant": ["oak", "rose"]}
PARENTS = {
    "cat": "pet",
    "dog": "pet",
    "pet": "animal",
    "car": "vehicle",
    "truck": "vehicle",
    "oak": "plant",
    "rose": "plant",
    "animal": None,
}
PATHS = [["vehicle"], ["animal", "pet"], ["animal", "pet"], ["plant"], ["plant"], ["vehicle"]]
# Nodes 0 to 5 are the classes; 6 = animal, 7 = pet, 8 = vehicle, 9 = plant.
NUMBERS = np.array([8, 7, 7, 9, 9, 8, -1, 6, -1, -1])
LABELS = np.arange(12_000) % 6
SIBLING = np.array([5, 2, 1, 4, 3, 0])


@pytest.mark.parametrize(
    ("ontology", "names"),
    [
        (NESTED, NAMES),
        (PARENTS, NAMES),
        (PATHS, NAMES),
        (PATHS, None),
        (NUMBERS, None),
        (NUMBERS.tolist(), NAMES),
    ],
    ids=["nested", "parents", "paths", "paths of codes", "numbers", "list of numbers"],
)
def test_every_form_gives_the_same_labels(ontology: object, names: list[str] | None) -> None:
    noisy = semantic(LABELS, ontology, 0.3, names)
    np.testing.assert_array_equal(noisy.labels[noisy.is_wrong], SIBLING[LABELS[noisy.is_wrong]])
    assert noisy.digest == semantic(LABELS, NESTED, 0.3, NAMES).digest
    assert abs(noisy.realised_rate - 0.3) < 4 * np.sqrt(0.25 / len(LABELS))
    assert noisy.details == {"n_fallback_classes": 0, "n_fallback_flips": 0, "share_in_parent": 1.0}


def test_classes_named_by_their_codes() -> None:
    by_code = {code: "even" if code % 2 == 0 else "odd" for code in range(6)}
    noisy = semantic(LABELS, by_code, 1.0)
    np.testing.assert_array_equal(noisy.labels % 2, LABELS % 2)
    assert noisy.is_wrong.all()


def test_superclasses_of_cifar100_by_hand() -> None:
    ontology = {fine: f"super {coarse}" for fine, coarse in enumerate(CIFAR100_FINE_TO_COARSE)}
    transition = semantic([0], ontology, 0.4).transition
    coarse = np.array(CIFAR100_FINE_TO_COARSE)
    expected = np.where(coarse[:, None] == coarse, 0.1, 0.0)
    np.fill_diagonal(expected, 0.6)
    np.testing.assert_allclose(transition, expected)


def test_lowest_ancestor_with_two_classes() -> None:
    # The cat is alone under felines: its relatives are found one level higher.
    ontology = {"feline": ["cat"], "canine": ["dog", "wolf"]}
    tree = ClassTree({"animal": ontology, "plant": ["oak", "rose"]}, ["cat", "dog", "oak", "rose", "wolf"])
    assert tree.ancestor(0) == ("animal",)
    assert tree.ancestor(1) == ("animal", "canine")
    assert tree.ancestor(1, levels=2) == ("animal",)
    assert tree.ancestor(1, levels=9) == ()
    assert tree.distances(1, np.array([4, 0, 2])).tolist() == [2, 4, 5]


def test_a_class_alone_under_the_root_falls_back() -> None:
    ontology = {"pet": ["cat", "dog"], "oak": {}}
    noisy = semantic(np.arange(9_000) % 3, ontology, 0.5, ["cat", "dog", "oak"])
    np.testing.assert_allclose(noisy.transition, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    assert noisy.details["n_fallback_classes"] == 1
    assert noisy.details["n_fallback_flips"] == (noisy.is_wrong & (np.arange(9_000) % 3 == 2)).sum()
    # Oak hangs from the root itself, so its flips stay under its parent too.
    assert noisy.details["share_in_parent"] == 1
    inside = semantic(
        np.arange(9_000) % 3, {"pet": ["cat", "dog"], "tree": ["oak"]}, 0.5, ["cat", "dog", "oak"]
    )
    assert inside.details["share_in_parent"] == pytest.approx(
        1 - inside.details["n_fallback_flips"] / inside.is_wrong.sum()
    )


def test_weighting_by_tree_distance() -> None:
    noisy = semantic(LABELS, NESTED, 0.6, NAMES, levels=9, weighting="tree_distance")
    # From the cat: the dog two edges away, the others five.
    weights = np.array([1 / 5, 0, 1 / 2, 1 / 5, 1 / 5, 1 / 5])
    expected = 0.6 * weights / weights.sum()
    expected[1] = 0.4
    np.testing.assert_allclose(noisy.transition[1], expected)
    wide = semantic(LABELS, NESTED, 0.6, NAMES, levels=9)
    np.testing.assert_allclose(wide.transition, np.where(np.eye(6) == 1, 0.4, 0.12))


def test_relabelling_the_classes() -> None:
    order = np.array([3, 0, 5, 1, 4, 2])
    turned = semantic([0], NESTED, 0.4, [NAMES[code] for code in order]).transition
    np.testing.assert_allclose(turned, semantic([0], NESTED, 0.4, NAMES).transition[np.ix_(order, order)])


def test_no_flips() -> None:
    noisy = semantic([0, 1], NESTED, 0.0, NAMES)
    assert noisy.labels.tolist() == [0, 1]
    assert "share_in_parent" not in noisy.details


@pytest.mark.parametrize(
    ("ontology", "names", "message"),
    [
        (PARENTS, [*NAMES, "whale"], "lacks 1 of 7 classes, first 'whale'"),
        (PARENTS, None, "give class_names"),
        ({"a": "b", "b": "a"}, ["a", "b"], "'a' is its own ancestor"),
        ({"x": ["cat"], "y": ["cat", "dog"]}, ["cat", "dog"], "'cat' stands in 2 places"),
        ({"x": ["cat", "dog"]}, ["cat", "cat"], "holds a name twice"),
        ({"x": {"cat": 3.5}}, ["cat"], "nested mappings hold"),
        ({"x": [["cat"]]}, ["cat"], "is no name"),
        ("wordnet", NAMES, "ontology must be"),
        ([], NAMES, "ontology must be"),
        (["cat", "dog"], ["cat", "dog"], "ontology must be"),
        (PATHS, NAMES[:3], "6 paths and class_names 3 names"),
        ({"x": ["cat"]}, ["cat"], "a single class"),
    ],
)
def test_wrong_ontologies_are_refused(ontology: object, names: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        semantic([0], ontology, 0.4, names)


def test_wrong_choices_are_refused() -> None:
    with pytest.raises(InputError, match="weighting must be"):
        semantic([0], NESTED, 0.4, NAMES, weighting="near")
    with pytest.raises(InputError, match="levels must be"):
        semantic([0], NESTED, 0.4, NAMES, levels=0)


def test_similarity_by_hand() -> None:
    vectors = np.array([[2.0, 0.0], [3.0, 3.0], [0.0, 0.1]])
    transition = semantic_similarity([0], vectors, 0.5, temperature=0.5).transition
    # Cosines from the first: sqrt(1/2) and 0; from the second: sqrt(1/2) to both.
    odds = np.exp(np.sqrt(0.5) / 0.5)
    np.testing.assert_allclose(transition[0], [0.5, 0.5 * odds / (odds + 1), 0.5 / (odds + 1)])
    np.testing.assert_allclose(transition[1], [0.25, 0.5, 0.25])


def test_similarity_realises_its_matrix() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 8))
    noisy = semantic_similarity(LABELS, vectors, 0.4)
    np.testing.assert_allclose(noisy.realised_transition, noisy.transition, atol=4 * np.sqrt(0.25 / 2_000))
    assert abs(noisy.realised_rate - 0.4) < 4 * np.sqrt(0.25 / len(LABELS))


def test_nearest_partners_only() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 8))
    transition = semantic_similarity([0], vectors, 0.4, n_partners=2).transition
    np.testing.assert_array_equal((transition > 0).sum(axis=1), 3)
    every = semantic_similarity([0], vectors, 0.4, n_partners=99).transition
    np.testing.assert_allclose(every, semantic_similarity([0], vectors, 0.4).transition)
    ties = semantic_similarity([0], np.eye(4), 0.3, n_partners=1).transition
    np.testing.assert_allclose(ties, np.where(np.eye(4) == 1, 0.7, 0.1))


def test_similarity_turns_and_scales_with_the_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors, turn = rng.normal(size=(6, 4)), np.linalg.qr(rng.normal(size=(4, 4)))[0]
    first = semantic_similarity([0], vectors, 0.4).transition
    second = semantic_similarity([0], vectors @ turn * rng.uniform(1, 9, (6, 1)), 0.4).transition
    np.testing.assert_allclose(first, second, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_embeddings": [[1.0], [0.0]]}, "row 1 is zero"),
        ({"class_embeddings": [[np.nan], [1.0]]}, "row 0 is zero or not finite"),
        ({"class_embeddings": [[1.0]]}, r"shape \(1, 1\)"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"n_partners": 0}, "n_partners must be"),
    ],
)
def test_wrong_embeddings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        semantic_similarity(**{"labels": [0, 1], "class_embeddings": np.eye(2), **changes})
