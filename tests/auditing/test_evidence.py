"""The two rounds: what counts as a signal, which regression is used, and that stages are taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.auditing import probes as probes_module
from tamis.auditing.evidence import Evidence, tells_classes_apart, weigh
from tamis.auditing.material import Material, gather
from tamis.auditing.rows import Rows, choose_rows, find_neighbors
from tamis.data import from_arrays
from tamis.neighbors import Neighbors
from tamis.runs import StageStore


@pytest.fixture(scope="module")
def parts(data: Any) -> tuple[Material, Rows, Neighbors | None]:
    material = gather(
        from_arrays(data.features, data.labels, None),
        encoder=None,
        out_of_sample=None,
        has_named_columns=False,
        memory_budget=None,
        device="cpu",
    )
    rows = choose_rows(material)
    return material, rows, find_neighbors(material, rows, StageStore(None, ""), None)[0]


@pytest.fixture(scope="module")
def weighed(parts: tuple[Material, Rows, Neighbors | None]) -> Evidence:
    result = weigh(*parts, StageStore(None, ""))
    assert result is not None
    return result


def test_posteriors_and_ends(parts: tuple[Material, Rows, Neighbors | None], weighed: Evidence) -> None:
    rows = parts[1]
    score = weighed.posterior[np.arange(len(rows.codes)), rows.codes]
    assert weighed.posterior.shape == (240, 4)
    assert np.allclose(weighed.posterior.sum(1), 1, atol=1e-5)
    assert (weighed.low <= score + 1e-6).all()
    assert (score <= weighed.high + 1e-6).all()
    assert np.allclose(weighed.transition.sum(1), 1)
    assert (weighed.transition.diagonal() > 0.7).all()


def test_neighbour_vote_is_the_share_of_the_given_label(
    parts: tuple[Material, Rows, Neighbors | None], weighed: Evidence, data: Any
) -> None:
    _, rows, neighbors = parts
    assert neighbors is not None
    shares = (data.labels[neighbors.indices[rows.rows]] == data.labels[rows.rows][:, None]).mean(1)
    assert np.allclose(weighed.scores["neighbor_vote"], shares, atol=1e-5)


def test_no_own_label_in_the_first_round(
    parts: tuple[Material, Rows, Neighbors | None], weighed: Evidence, data: Any
) -> None:
    """Wrong labels get little self-confidence, which they would not if they were trained on."""
    confidence = weighed.scores["self_confidence"]
    is_wrong = data.is_wrong[parts[1].rows]
    assert confidence[is_wrong].mean() < 0.2 < 0.7 < confidence[~is_wrong].mean()


def test_ridge_beyond_the_effort(
    parts: tuple[Material, Rows, Neighbors | None], data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes_module, "_CROSS_VALIDATED_EFFORT", 10)
    result = weigh(*parts, StageStore(None, ""))
    assert result is not None
    assert "leave-one-out ridge regression" in result.notes[0]
    rows = parts[1]
    score = result.posterior[np.arange(len(rows.codes)), rows.codes]
    is_wrong = data.is_wrong[rows.rows]
    assert score[is_wrong].mean() < 0.25 < 0.75 < score[~is_wrong].mean()


def test_stages_are_saved_and_taken_up(
    parts: tuple[Material, Rows, Neighbors | None],
    weighed: Evidence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = StageStore(tmp_path, "key")
    weigh(*parts, store)
    names = {"log_probs", "prototypes", "logistic", "first_posterior", "second_log_probs"}
    assert {path.stem for path in (tmp_path / "key").iterdir()} == names

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(probes_module.CrossValidatedLogistic, "logits", refuse)
    again = weigh(*parts, store)
    assert again is not None
    assert np.array_equal(again.posterior, weighed.posterior)


def test_a_second_round_alone_gives_the_same(
    parts: tuple[Material, Rows, Neighbors | None], weighed: Evidence, tmp_path: Path
) -> None:
    store = StageStore(tmp_path, "key")
    weigh(*parts, store)
    (tmp_path / "key" / "second_log_probs.npy").unlink()
    again = weigh(*parts, store)
    assert again is not None
    # The second round now starts its search elsewhere and stops within the same tolerance.
    assert np.allclose(again.posterior, weighed.posterior, atol=1e-5)


def test_signal_by_hand() -> None:
    codes = np.array([0, 1] * 20)
    right = np.log(0.2 + 0.6 * np.eye(2)[codes])
    assert tells_classes_apart(right, codes)
    assert not tells_classes_apart(right, 1 - codes), "worse than chance is no signal either"
    assert not tells_classes_apart(np.zeros((40, 2)), codes)
    assert not tells_classes_apart(np.tile([0.0, 5.0], (40, 1)), codes), "the same for all rows"


def test_signal_ignores_scale_and_class_constants() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, size=300)
    weak = rng.normal(size=(300, 3)) + 0.4 * np.eye(3)[codes]
    assert tells_classes_apart(weak, codes)
    assert tells_classes_apart(1e-3 * weak + np.array([9.0, -9.0, 0.0]), codes)


def test_chance_is_rarely_taken_for_a_signal() -> None:
    rng = np.random.default_rng(0)
    seen = sum(
        tells_classes_apart(rng.normal(size=(100, 3)), rng.integers(0, 3, size=100)) for _ in range(1000)
    )
    assert seen <= 8
