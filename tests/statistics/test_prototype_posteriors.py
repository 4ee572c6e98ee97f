"""Average similarity and von Mises-Fisher similarity: batch scores against class sums."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.average_similarity import average_similarities, average_similarity_posterior
from tamis.statistics.class_sums import ClassSums
from tamis.statistics.vmf_similarity import (
    ConcentrationRule,
    vmf_classes,
    vmf_log_posterior,
    vmf_posterior,
)
from tamis.statistics.von_mises_fisher import log_normaliser


def memory(n=60, d=6, k=4, seed=0, sizes=None):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), sizes) if sizes else np.arange(n) % k
    features = rng.normal(size=(k, d))[labels] * 2 + rng.normal(size=(len(labels), d))
    return features, labels


def unit(features):
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)


def slow_average(features, labels, queries, query_labels, k, skip=()):
    """Average over every entry of the memory, one query at a time; ``skip[i]`` is left out for query i."""
    result = []
    for place, (query, own) in enumerate(zip(unit(queries), query_labels, strict=True)):
        keep = np.arange(len(labels)) != (skip[place] if len(skip) else -1)
        means = {c: np.mean(unit(features)[keep & (labels == c)] @ query) for c in set(labels[keep])}
        total = sum(np.exp(t) for t in means.values())
        result.append(np.exp(means[own]) / total if own in means else 1.0)
    return np.array(result)


def slow_vmf(features, labels, query, own, k, rule):
    """Fit every class from the given rows, then score one query; None where its class is absent."""
    d = features.shape[1]
    members = {c: unit(features)[labels == c] for c in range(k)}
    kappas, directions = {}, {}
    for c, rows in members.items():
        if len(rows) == 0:
            continue
        total = rows.sum(axis=0)
        directions[c] = total / np.linalg.norm(total)
        if len(rows) >= rule.min_count:
            r2 = (np.linalg.norm(total) / len(rows)) ** 2
            if rule.unbiased:
                r2 = max(0.0, (len(rows) * r2 - 1) / (len(rows) - 1))
            kappas[c] = np.clip(np.sqrt(r2) * (d - r2) / (1 - r2), rule.kappa_min, rule.kappa_max)
    lent = np.median(list(kappas.values())) if kappas else 1.0
    logits = {}
    for c, mean in directions.items():
        kappa = kappas.get(c, lent)
        logits[c] = (
            float(log_normaliser(torch.tensor([kappa], dtype=torch.float64), d)) + kappa * mean @ query
        )
    if own not in logits:
        return 0.0
    return logits[own] - np.logaddexp.reduce(list(logits.values()))


def test_average_by_hand():
    sums = ClassSums(2, 2).partial_fit([[1.0, 0.0], [0.0, 1.0], [0.0, 4.0]], [0, 0, 1])
    assert average_similarities([[0.0, 2.0]], sums).tolist() == [[0.5, 1.0]]
    got = average_similarity_posterior([[0.0, 2.0]], [0], sums)
    np.testing.assert_allclose(got.log_given.exp(), np.exp(0.5) / (np.exp(0.5) + np.e))
    assert got.best.tolist() == [1]


@pytest.mark.parametrize("absent", [False, True])
def test_average_against_every_entry(absent):
    features, labels = memory()
    queries, own = memory(12, seed=1)
    sums = ClassSums(6, 6).partial_fit(features, labels)
    got = average_similarity_posterior(queries, own, sums, absent_in_denominator=absent)
    expected = slow_average(features, labels, queries, own, 6)
    if absent:  # two classes of six have no entry: exp(0) each
        expected = 1 / (1 / expected + 2 / np.exp((unit(queries) * sums.means.numpy()[own]).sum(axis=1)))
    np.testing.assert_allclose(got.log_given.exp(), expected, atol=1e-12)


def test_average_without_self():
    features, labels = memory(sizes=[1, 2, 5, 9])
    sums = ClassSums(4, 6).partial_fit(features, labels)
    got = average_similarity_posterior(features, labels, sums, leave_one_out=True)
    expected = slow_average(features, labels, features, labels, 4, skip=np.arange(len(labels)))
    np.testing.assert_allclose(got.log_given.exp(), expected, atol=1e-12)
    assert got.log_given[0] == 0  # nothing else is known of its class
    assert got.best[0] == 0


@pytest.mark.shared
def test_average_on_the_authors_batches(golden):
    path = golden / "prism_filter.json"
    if not path.exists():
        pytest.skip("no prism_filter.json in this folder")
    for case in json.loads(path.read_text(encoding="utf-8")):
        inputs, expected = case["inputs"], case["expected"]
        entries = np.array(inputs["memory_features"])
        sums = ClassSums(case["params"]["num_classes"], entries.shape[1])
        sums.partial_fit(entries, inputs["memory_labels"])
        np.testing.assert_allclose(sums.means, expected["class_centers"], atol=1e-5)
        got = average_similarity_posterior(
            np.array(inputs["embeddings"]), inputs["labels"], sums, absent_in_denominator=True
        )
        np.testing.assert_allclose(got.log_given.exp(), expected["p_clean"], atol=1e-5)


@pytest.mark.parametrize(
    "rule", [ConcentrationRule(), ConcentrationRule(min_count=4, unbiased=True), ConcentrationRule(2, 5, 30)]
)
@pytest.mark.parametrize("sizes", [[1, 2, 3, 9], [3, 3, 4, 4], [2, 2, 1, 2], [4, 5, 6, 7], [3, 3, 3, 1]])
def test_vmf_without_self_equals_a_fit_without_the_row(rule, sizes):
    features, labels = memory(sizes=sizes, seed=sum(sizes))
    classes = vmf_classes(ClassSums(4, 6).partial_fit(features, labels), rule)
    got = vmf_posterior(features, labels, classes, leave_one_out=True, class_block=3)
    for row, (query, own) in enumerate(zip(unit(features), labels, strict=True)):
        rest = np.arange(len(labels)) != row
        expected = slow_vmf(features[rest], labels[rest], query, own, 4, rule)
        np.testing.assert_allclose(got.log_given[row], expected, atol=1e-9, err_msg=f"row {row}")
    new = vmf_posterior(features, labels, classes)
    expected = [
        slow_vmf(features, labels, q, own, 4, rule) for q, own in zip(unit(features), labels, strict=True)
    ]
    np.testing.assert_allclose(new.log_given, expected, atol=1e-9)
    full = vmf_log_posterior(features, classes)
    np.testing.assert_allclose(full.exp().sum(dim=1), 1.0)
    np.testing.assert_allclose(full[np.arange(len(labels)), labels], new.log_given, atol=1e-12)


def test_equal_concentration_ranks_like_a_cosine_softmax():
    features, labels = memory()
    sums = ClassSums(4, 6).partial_fit(features, labels)
    classes = vmf_classes(sums, ConcentrationRule(kappa_min=7, kappa_max=7))
    cosines = torch.from_numpy(unit(features)) @ classes.directions.T
    expected = (7 * cosines).log_softmax(dim=1)
    np.testing.assert_allclose(vmf_log_posterior(features, classes), expected, atol=1e-10)


def scores(features, labels, entries, entry_labels, k):
    sums = ClassSums(k, entries.shape[1]).partial_fit(entries, entry_labels)
    return torch.stack(
        [
            average_similarity_posterior(features, labels, sums).log_given,
            vmf_posterior(features, labels, vmf_classes(sums)).log_given,
        ]
    )


def test_what_does_not_matter():
    entries, entry_labels = memory(sizes=[9, 12, 5, 20])
    queries, labels = memory(10, seed=3)
    rng = np.random.default_rng(0)
    first = scores(queries, labels, entries, entry_labels, 4)
    order = rng.permutation(len(entries))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    codes = rng.permutation(4)
    twice = np.concatenate([entries, entries]), np.concatenate([entry_labels, entry_labels])
    for changed in (
        scores(queries, labels, entries[order], entry_labels[order], 4),
        scores(queries, labels, *twice, 4),
        scores(queries @ turn, labels, entries @ turn, entry_labels, 4),
        scores(queries, codes[labels], entries, codes[entry_labels], 4),
        scores(queries * 3.7, labels, entries * 0.01, entry_labels, 4),
    ):
        np.testing.assert_allclose(changed, first, atol=1e-9)


@pytest.mark.parametrize("out", [False, True])
def test_blocks_of_classes_do_not_matter(out):
    entries, labels = memory(n=90, k=9)
    sums = ClassSums(9, 6).partial_fit(entries, labels)
    for block in (1, 2, 9):
        one = average_similarity_posterior(entries, labels, sums, leave_one_out=out, class_block=block)
        all_ = average_similarity_posterior(entries, labels, sums, leave_one_out=out)
        np.testing.assert_allclose(one.log_given, all_.log_given, atol=1e-12)
        assert torch.equal(one.best, all_.best)


def test_odd_rows():
    entries, labels = memory()
    sums = ClassSums(5, 6).partial_fit(entries, labels)
    queries = np.zeros((4, 6))
    queries[1, 0], queries[2, 3], queries[3, 0] = np.nan, np.inf, 1.0
    for got in (
        average_similarity_posterior(queries, [0, 1, 2, 4], sums),
        vmf_posterior(queries, [0, 1, 2, 4], vmf_classes(sums)),
    ):
        assert torch.isfinite(got.log_given[0])
        assert got.log_given[1:].tolist() == [-np.inf, -np.inf, 0.0]
        assert got.best[1:].tolist() == [1, 2, 4]
    zero = average_similarity_posterior(queries[:1], [0], sums)
    np.testing.assert_allclose(zero.log_given.exp(), 0.25)


def test_members_that_cancel_and_members_that_are_equal():
    features = np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0], [0, 1], [0, 1], [0, 1], [0, 1]])
    labels = np.repeat([0, 1], 4)
    classes = vmf_classes(ClassSums(2, 2).partial_fit(features, labels))
    assert classes.kappa.tolist() == [0.0, 1e5]
    assert classes.directions[0].tolist() == [0.0, 0.0]
    got = vmf_posterior(features, labels, classes, leave_one_out=True)
    assert torch.isfinite(got.log_given).all()
    assert got.best.tolist() == labels.tolist()


def test_half_precision_and_float32_state():
    entries, labels = memory(n=200, d=32)
    sums = ClassSums(4, 32, dtype=torch.float32).partial_fit(entries, labels)
    exact = ClassSums(4, 32).partial_fit(entries, labels)
    half = torch.from_numpy(entries).half().requires_grad_()
    got = average_similarity_posterior(half, torch.from_numpy(labels), sums)
    assert got.log_given.dtype == torch.float32
    assert not got.log_given.requires_grad
    want = average_similarity_posterior(entries, labels, exact)
    np.testing.assert_allclose(got.log_given, want.log_given, atol=2e-3)
    got = vmf_posterior(entries, labels, vmf_classes(sums), leave_one_out=True)
    want = vmf_posterior(entries, labels, vmf_classes(exact), leave_one_out=True)
    np.testing.assert_allclose(got.log_given, want.log_given, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda sums: average_similarity_posterior([[1.0]], [0], sums), r"expected \(rows, 2\)"),
        (
            lambda sums: average_similarity_posterior([[1.0, 0.0]], [2], sums),
            "labels row 0 is 2; legal are 0 to 1",
        ),
        (lambda sums: vmf_posterior([[1.0, 0.0]], [-1], vmf_classes(sums)), "labels row 0 is -1"),
        (
            lambda sums: vmf_classes(sums, ConcentrationRule(min_count=1)),
            "min_count is 1; expected at least 2",
        ),
        (lambda sums: vmf_classes(sums, ConcentrationRule(kappa_max=-1)), "kappa_max -1"),
    ],
)
def test_bad_input_is_refused(action, message):
    with pytest.raises(InputError, match=message):
        action(ClassSums(2, 2).partial_fit(np.eye(2), [0, 1]))


def spread_classes(d, rate, seed, k=20, n=40):
    """Return unit vectors of classes of unequal spread, uniform wrong labels, and which are wrong."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(k), n)
    spread = rng.uniform(0.3, 1.5, k) / np.sqrt(d) * 4
    means = unit(rng.normal(size=(k, d)))
    features = unit(means[truth] + rng.normal(size=(k * n, d)) * spread[truth, None])
    is_wrong = rng.random(k * n) < rate
    return features, np.where(is_wrong, (truth + rng.integers(1, k, k * n)) % k, truth), is_wrong


@pytest.mark.parametrize(("d", "rate"), [(64, 0.2), (64, 0.5), (512, 0.5), (512, 0.7)])
def test_vmf_leads_where_spreads_differ(d, rate):
    from tamis.metrics.ranking import auroc

    found = []
    for seed in range(3):
        features, labels, is_wrong = spread_classes(d, rate, seed)
        sums = ClassSums(20, d).partial_fit(features, labels)
        average = average_similarity_posterior(features, labels, sums, leave_one_out=True).log_given
        vmf = vmf_posterior(features, labels, vmf_classes(sums), leave_one_out=True).log_given
        found.append((auroc(average, is_wrong), auroc(vmf, is_wrong)))
    average, vmf = np.mean(found, axis=0)
    assert vmf > average > 0.6
