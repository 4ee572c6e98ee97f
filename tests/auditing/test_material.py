"""What an audit works on: usable numbers, hashes of content, rows that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tamis.auditing.material import Material, attach, gather
from tamis.data import Dataset, from_arrays
from tamis.errors import InputError


def _gather(dataset: Dataset, *, encoder: Any = None) -> Material:
    return gather(
        dataset,
        encoder=encoder,
        out_of_sample=None,
        has_named_columns=False,
        memory_budget=None,
        device="cpu",
    )


def _texts(n: int = 30) -> Dataset:
    from tamis.data import read

    words = ["good", "bad"]
    frame = pd.DataFrame(
        {"text": [f"{words[i % 2]} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]}
    )
    return read(frame)


def test_features_are_taken_as_they_are() -> None:
    features = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    material = _gather(from_arrays(features, [0, 1] * 4, None))
    assert material.features is not None
    assert np.array_equal(material.features, features)
    assert material.pred_probs is None
    assert material.speed is None
    assert material.digests.shape == (8, 2)
    assert material.shows_duplicates


def test_unusable_rows_become_zeros_without_content() -> None:
    features = np.random.default_rng(0).normal(size=(8, 3))
    features[1, 2], features[6, 0] = np.nan, -np.inf
    material = _gather(from_arrays(features, [0, 1] * 4, None))
    assert sorted(material.unreadable) == [1, 6]
    assert material.features is not None
    assert not material.features[[1, 6]].any()
    assert not material.digests[[1, 6]].any()
    assert material.digests[[0, 2, 3, 4, 5, 7]].any(axis=1).all()
    assert np.isnan(features[1, 2]), "the data are never modified"


def test_texts_are_encoded_by_a_callable() -> None:
    def encoder(samples: Sequence[str]) -> np.ndarray:
        return np.array([[len(sample), sample.count("o") + 1.0] for sample in samples], dtype=np.float32)

    material = _gather(_texts(), encoder=encoder)
    assert material.features is not None
    assert material.features.shape == (30, 2)
    assert any("Features come from the encoder" in note for note in material.notes)


def test_probabilities_alone_are_enough_and_show_no_duplicates() -> None:
    probs = np.array([[0.6, 0.4], [0.6, 0.4], [0.2, 0.8], [0.5005, 0.5]])
    material = _gather(from_arrays(None, [0, 1, 1, 0], probs))
    assert material.features is None
    assert material.pred_probs is not None
    assert np.allclose(material.pred_probs.sum(axis=1), 1.0, atol=1e-12)
    assert not material.shows_duplicates


def test_attach_puts_named_columns_in_class_order() -> None:
    dataset = from_arrays([[0.0], [1.0]], ["b", "a"], None)
    frame = pd.DataFrame({"b": [0.9, 0.2], "a": [0.1, 0.8]})
    matched, is_named = attach(dataset, features=None, pred_probs=frame)
    assert is_named
    assert dataset.class_names == ("a", "b")
    assert matched.pred_probs is not None
    assert matched.pred_probs.tolist() == [[0.1, 0.9], [0.8, 0.2]]
    counted = pd.DataFrame([[0.1, 0.9], [0.8, 0.2]])
    same, is_named = attach(dataset, features=None, pred_probs=counted)
    assert not is_named
    assert same.pred_probs is not None
    assert same.pred_probs.tolist() == [[0.1, 0.9], [0.8, 0.2]]


def test_attach_replaces_features() -> None:
    dataset = from_arrays([[0.0], [1.0]], [0, 1], None)
    changed, _ = attach(dataset, features=[[3, 4], [5, 6]], pred_probs=None)
    assert next(iter(changed.features.values())).tolist() == [[3.0, 4.0], [5.0, 6.0]]
    assert next(iter(dataset.features.values())).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": [1.0, 2.0]}, r"features has shape \(2,\)"),
        ({"features": [["a"], ["b"]]}, "features"),
        ({"features": [[1.0]]}, "features has 1 rows but the data have 2"),
        ({"pred_probs": [[0.5, 0.3, 0.2]] * 2}, "pred_probs has 3 columns, the data have 2 classes"),
        (
            {"pred_probs": pd.DataFrame({"0": [1.0, 0.0], "cat": [0.0, 1.0]})},
            r"columns without class \['cat'\]",
        ),
    ],
)
def test_attach_refuses(arguments: dict[str, Any], message: str) -> None:
    given = {"features": None, "pred_probs": None} | arguments
    with pytest.raises(InputError, match=message):
        attach(from_arrays([[0.0], [1.0]], [0, 1], None), **given)
