"""A second opinion weighed in: level, order, memory, held-out rows, the verdict of a method alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

import tamis
from tamis.auditing.first_opinion import read_first_opinion
from tamis.auditing.opinion import Opinion, as_shares, with_opinion
from tamis.auditing.pooling import MOST_WEIGHT, pool_opinions
from tamis.data import from_arrays
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision
from tamis.statistics.translation import fit_translation


def _opinion(
    data: Any, *, noise: float = 1.5, lean: float = 1.0, seed: int = 1, name: str = "elr"
) -> Opinion:
    """Return beliefs that see the features through other noise than the audit and lean to their labels."""
    rng = np.random.default_rng(seed)
    n, k = len(data.labels), int(data.true.max()) + 1
    logits = 1.5 * (3.0 * np.eye(k)[data.true] + noise * rng.normal(size=(n, k)))
    beliefs = softmax(logits + lean * np.eye(k)[data.labels], axis=1)
    return Opinion(name, beliefs.astype(np.float32), beliefs[np.arange(n), data.labels])


def _by_heart(data: Any) -> Opinion:
    k = int(data.true.max()) + 1
    beliefs = np.full((len(data.labels), k), 1e-4) + (1 - k * 1e-4) * np.eye(k)[data.labels]
    return Opinion("cross_entropy", beliefs, beliefs[np.arange(len(beliefs)), data.labels])


def _scores(found: tamis.Audit) -> np.ndarray:
    return found.issues.column("label_score").to_numpy()


@pytest.fixture(scope="module")
def hard(planted: Callable[..., Any]) -> Any:
    """Return 600 rows whose classes overlap, a fifth of the labels wrong."""
    return planted(600, 4, rate=0.2, gap=2.2, seed=3)


@pytest.fixture(scope="module")
def audited(hard: Any) -> tamis.Audit:
    return tamis.audit(features=hard.features, labels=hard.labels)


@pytest.fixture(scope="module")
def together(hard: Any, audited: tamis.Audit) -> tamis.Audit:
    assert audited.dataset is not None
    return with_opinion(audited.dataset, audited, _opinion(hard))


def test_both_together_rank_better_than_each(hard: Any, audited: tamis.Audit, together: tamis.Audit) -> None:
    alone = average_precision(_scores(audited), hard.is_wrong)
    assert average_precision(_scores(together), hard.is_wrong) > alone + 0.005


def test_the_expected_number_of_wrong_labels_stays(audited: tamis.Audit, together: tamis.Audit) -> None:
    assert _scores(together).mean() == pytest.approx(_scores(audited).mean(), abs=1e-4)
    before, after = audited.expected_wrong, together.expected_wrong
    assert before is not None
    assert after is not None
    assert after.estimate == pytest.approx(before.estimate, abs=0.1)


def test_the_table_is_consistent(audited: tamis.Audit, together: tamis.Audit) -> None:
    issues = together.issues
    expected = list(audited.issues.column_names)
    expected.insert(expected.index("neighbor_vote") + 1, "elr")
    assert issues.column_names == expected
    score, rank = _scores(together), issues.column("rank").to_numpy()
    assert sorted(rank) == list(range(1, 601))
    assert (np.diff(score[np.argsort(rank)]) >= 0).all()
    differs = issues.column("suggested_label").to_numpy() != issues.column("given_label").to_numpy()
    assert (issues.column("is_label_issue").to_numpy() == ((score < 0.5) & differs)).all()
    probs = np.array(issues.column("alternative_probs").to_pylist())
    labels = np.array(issues.column("alternative_labels").to_pylist())
    assert (np.diff(probs, axis=1) <= 1e-6).all()
    np.testing.assert_array_equal(labels[:, 0], issues.column("suggested_label").to_numpy())
    row, place = np.nonzero(labels == issues.column("given_label").to_numpy()[:, None])
    np.testing.assert_allclose(probs[row, place], score[row], atol=1e-6)
    low, high = (issues.column(f"label_score_{end}").to_numpy() for end in ("low", "high"))
    assert (low <= score + 1e-6).all()
    assert (score <= high + 1e-6).all()
    assert together.summary.n_flagged == issues.column("is_label_issue").to_numpy().sum()
    assert together.transition is not None
    np.testing.assert_allclose(together.transition.sum(axis=1), 1)
    assert "weighs the audit (" in together.summary.notes[-1]
    assert together.path is None


def test_the_report_shows_the_method(together: tamis.Audit, tmp_path: object) -> None:
    page = together.report(f"{tmp_path}/report.html").read_text()
    assert "what elr believes" in page


def test_pool_against_a_slow_reference(hard: Any, audited: tamis.Audit) -> None:
    opinion = _opinion(hard)
    assert audited.dataset is not None
    first = read_first_opinion(audited.dataset, audited)
    everybody = np.ones(600, dtype=bool)
    pool = pool_opinions(first, opinion.beliefs, everybody, ~everybody)
    order = np.argsort(first.places)
    all_rows = np.arange(600)
    translation = fit_translation(opinion.beliefs[order], hard.labels[order], first.posterior(order))
    log_q = translation.log_probs(opinion.beliefs, hard.labels)
    q = np.exp(log_q[all_rows, hard.labels])
    agreement = 1 - ((first.score - q) ** 2).mean() / first.score.var()
    assert pool.agreement == pytest.approx(agreement, abs=1e-5)
    repeated = (opinion.beliefs.argmax(axis=1) == hard.labels).mean()
    learned = max(0.0, (repeated - first.score.mean()) / (1 - first.score.mean()))
    assert pool.learned == pytest.approx(learned)
    weight = MOST_WEIGHT * np.clip((agreement - 0.2) / 0.4, 0, 1) * (1 - np.clip((learned - 0.2) / 0.6, 0, 1))
    assert pool.weight == pytest.approx(weight, abs=1e-5)
    mixed = softmax((1 - weight) * np.log(first.posterior(all_rows)) + weight * log_q, axis=1)
    odds = logit(np.clip(mixed[all_rows, hard.labels], 1e-6, 1 - 1e-6))

    def loss(x: np.ndarray) -> float:
        z = x[0] + x[1] * odds
        return float((np.logaddexp(0, z) - first.score * z).mean())

    a, b = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(pool.posterior[all_rows, hard.labels], expit(a + b * odds), atol=2e-4)
    np.testing.assert_allclose(pool.posterior.sum(axis=1), 1, atol=1e-5)


def test_labels_learned_by_heart_change_nothing(hard: Any, audited: tamis.Audit) -> None:
    assert audited.dataset is not None
    found = with_opinion(audited.dataset, audited, _by_heart(hard))
    assert found.issues.drop_columns(["cross_entropy"]).equals(audited.issues)
    assert "no part in the verdict" in found.summary.notes[-1]
    assert found.summary.notes[-1].startswith("Warning")
    assert "by heart: it repeats 100.0 % of the given labels" in found.summary.notes[-1]
    assert replace(found.summary, notes=audited.summary.notes) == audited.summary


def test_beliefs_without_content_are_not_said_to_be_memory(hard: Any, audited: tamis.Audit) -> None:
    assert audited.dataset is not None
    beliefs = softmax(np.random.default_rng(0).normal(size=(600, 4)), axis=1)
    opinion = Opinion("gce", beliefs, beliefs[np.arange(600), hard.labels])
    note = with_opinion(audited.dataset, audited, opinion).summary.notes[-1]
    assert "too little to be evidence" in note
    assert "heart" not in note


def test_on_nearly_clean_labels_repeating_all_is_no_fault(planted: Callable[..., Any]) -> None:
    clean = planted(600, 4, rate=0.0, gap=6.0, seed=3)
    first = tamis.audit(features=clean.features, labels=clean.labels)
    assert first.dataset is not None
    note = with_opinion(first.dataset, first, _by_heart(clean)).summary.notes[-1]
    assert "too few to compare opinions on" in note
    assert not note.startswith("Warning")
    alone = with_opinion(first.dataset, None, _by_heart(clean)).summary.notes[-1]
    assert "unless hardly any label is wrong" in alone


def test_order_of_rows_and_codes_of_classes_do_not_matter(hard: Any, together: tamis.Audit) -> None:
    opinion = _opinion(hard)
    order = np.random.default_rng(5).permutation(600)
    codes = np.array([2, 0, 3, 1])
    labels = codes[hard.labels]
    back = np.argsort(codes)
    other = tamis.audit(features=hard.features[order], labels=labels[order])
    assert other.dataset is not None
    turned = Opinion("elr", opinion.beliefs[order][:, back], opinion.clean_scores[order])
    found = with_opinion(other.dataset, other, turned)
    np.testing.assert_allclose(_scores(found), _scores(together)[order], atol=1e-4)
    suggested = found.issues.column("suggested_label").to_numpy()
    expected = codes[together.issues.column("suggested_label").to_numpy()[order]]
    assert (suggested == expected).mean() > 0.995


def test_blocks_do_not_matter(
    hard: Any, audited: tamis.Audit, together: tamis.Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.auditing.pooling._BLOCK_CELLS", 28)
    assert audited.dataset is not None
    found = with_opinion(audited.dataset, audited, _opinion(hard))
    np.testing.assert_allclose(_scores(found), _scores(together), atol=1e-7)


def test_rows_without_an_opinion_keep_the_audits_verdict(hard: Any, audited: tamis.Audit) -> None:
    opinion = _opinion(hard)
    opinion.clean_scores[:50] = np.nan
    assert audited.dataset is not None
    found = with_opinion(audited.dataset, audited, opinion)
    np.testing.assert_allclose(_scores(found)[:50], _scores(audited)[:50], atol=1e-6)
    assert np.abs(_scores(found)[50:] - _scores(audited)[50:]).max() > 0.01
    assert found.issues.column("elr").null_count == 50


def test_held_out_rows_are_translated_on_their_own(hard: Any, audited: tamis.Audit) -> None:
    trained, fair = _opinion(hard, lean=2.0), _opinion(hard, lean=0.0)
    held = np.arange(600) % 3 == 0
    beliefs = np.where(held[:, None], fair.beliefs, trained.beliefs)
    assert audited.dataset is not None
    first, everybody = read_first_opinion(audited.dataset, audited), np.ones(600, dtype=bool)
    mixed, told = (pool_opinions(first, beliefs, everybody, mask) for mask in (~everybody, held))
    assert told.agreement > mixed.agreement + 0.01
    assert told.repeated == pytest.approx((beliefs.argmax(axis=1) == hard.labels)[~held].mean())
    # Too few to learn from: they are taken for the others.
    few = pool_opinions(first, beliefs, everybody, np.arange(600) < 99)
    assert few.agreement == mixed.agreement


def test_unlabelled_rows_and_small_classes_stay_unassessed(planted: Callable[..., Any]) -> None:
    data = planted(243, 4)
    labels: list[int | None] = [int(label) for label in data.labels]
    labels[0] = None
    labels[1:4] = [4, 4, 4]
    dataset = from_arrays(data.features, labels)
    first = tamis.audit(dataset)
    beliefs = np.full((243, 5), 0.01)
    beliefs[:, :4] += softmax(data.features[:, :4], axis=1)
    scores = np.where(dataset.label_codes >= 0, 0.5, np.nan)
    found = with_opinion(dataset, first, Opinion("elr", beliefs / beliefs.sum(1, keepdims=True), scores))
    for name in ("is_assessed", "reason"):
        assert found.issues.column(name).equals(first.issues.column(name))
    assert found.issues.column("label_score").null_count == 4
    assert found.summary.not_assessed == first.summary.not_assessed
    assert found.issues.schema.field("given_label").type == pa.int64()


def test_an_audit_without_a_verdict(data: Any) -> None:
    labels = np.zeros(240, dtype=int)
    first = tamis.audit(features=data.features, labels=labels)
    assert first.dataset is not None
    found = with_opinion(first.dataset, first, Opinion("elr", np.ones((240, 1)), np.ones(240)))
    assert found.issues.column("label_score").null_count == 240
    assert "no verdict is given" in found.summary.notes[-1]


def test_a_method_alone(hard: Any) -> None:
    dataset = from_arrays(hard.features, hard.labels)
    opinion = _opinion(hard)
    opinion.clean_scores[7] = np.nan
    found = with_opinion(dataset, None, opinion)
    assert average_precision(np.nan_to_num(_scores(found), nan=1.0), hard.is_wrong) > 0.7
    assert "trained on these labels" in found.summary.notes[-1]
    assert found.issues.column("reason")[7].as_py() == "unreadable: elr could not use it"
    assert found.issues.column("is_assessed").to_pylist().count(False) == 1
    assert found.dataset is dataset
    learned = with_opinion(dataset, None, _by_heart(hard))
    assert "by heart" in learned.summary.notes[-1]


def test_wrong_audits_and_opinions_are_refused(hard: Any, data: Any, found: tamis.Audit) -> None:
    dataset = from_arrays(data.features, data.labels)
    opinion = _opinion(data)
    with pytest.raises(InputError, match="240 rows and 4 classes"):
        with_opinion(dataset, found, _opinion(hard))
    with pytest.raises(InputError, match="240 rows, the data have 600"):
        with_opinion(from_arrays(hard.features, hard.labels), found, _opinion(hard))
    with pytest.raises(InputError, match="other labels: row 0 has"):
        with_opinion(dataset.with_labels((dataset.label_codes + 1) % 4), found, opinion)


def test_the_column_never_hides_another(data: Any, found: tamis.Audit) -> None:
    assert found.dataset is not None
    named = with_opinion(found.dataset, found, _opinion(data, name="label_score"))
    assert "label_score_opinion" in named.issues.column_names
    once = with_opinion(found.dataset, found, _opinion(data))
    twice = with_opinion(found.dataset, once, _opinion(data, seed=2))
    assert twice.issues.column_names.count("elr") == 1


def test_shares_by_hand() -> None:
    np.testing.assert_array_equal(as_shares(np.array([0.2, np.nan, 1.0])), [0.2, np.nan, 1.0])
    np.testing.assert_array_equal(
        as_shares(np.array([-5.0, 2.0, 2.0, 9.0, np.nan])), [0, 1 / 3, 1 / 3, 1, np.nan]
    )
    assert np.isnan(as_shares(np.full(3, np.nan))).all()
