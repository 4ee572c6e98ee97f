"""Misfits: prototypes by hand, planted labels, likeness of classes, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from tamis.statistics.class_likeness import alike_classes, halved_classes
from tamis.statistics.membership import best_classes, class_prototypes, mean_cosine, membership_features
from tamis.statistics.misfits import find_misfits
from tamis.statistics.planted_labels import cautious_trust, fit_against_planted


def _units(x: torch.Tensor) -> torch.Tensor:
    x = x.double() - x.double().mean(dim=0)
    return x / x.norm(dim=1, keepdim=True)


def _planted(
    seed: int = 0, n_classes: int = 20, members: int = 15, spread: float = 1.0, rate: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return unit rows, given codes with a share wrong (a fifth), and which are wrong."""
    rng = torch.Generator().manual_seed(seed)
    true = torch.arange(n_classes).repeat_interleave(members)
    centres = torch.randn(n_classes, 16, generator=rng)
    x = centres[true] + spread * torch.randn(len(true), 16, generator=rng)
    is_wrong = torch.rand(len(true), generator=rng) < rate
    shift = torch.randint(1, n_classes, (len(true),), generator=rng)
    return _units(x), torch.where(is_wrong, (true + shift) % n_classes, true), is_wrong


def test_membership_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    codes, groups = torch.tensor([0, 0, 1, 1]), torch.arange(4)
    sums = class_prototypes(x, codes, 2, torch.ones(4).double(), groups)
    best = best_classes(sums, 0, 4, 1)
    # Row 0: its class without it points to (0.6, 0.8); the other class to (-1, 1).
    assert best[0][0].tolist() == pytest.approx([0.6, -(0.5**0.5)])
    found = membership_features(
        sums, 0, 1, torch.tensor([[0, 1]]), torch.tensor([False, False]), (best[0][:1], best[1][:1])
    )
    assert found[0, 0].tolist() == pytest.approx([1.6 / (1.6**2 + 0.8**2) ** 0.5, 0.05, -(0.5**0.5)])
    # As a member of class 1: cosine with (-1, 1) + (1, 0); the two members there are at right angles.
    assert found[0, 1].tolist() == pytest.approx([0.0, 0.05, 0.6])


def test_membership_equals_a_slow_reference() -> None:
    units, codes, _ = _planted()
    trust = torch.rand(len(codes), generator=torch.Generator().manual_seed(1)).double()
    sums = class_prototypes(units, codes, 20, trust, torch.arange(len(codes)))
    looked_at = torch.stack([codes, (codes + 1) % 20], dim=1)
    is_open = torch.tensor([False, True])
    found = membership_features(sums, 0, 300, looked_at, is_open, best_classes(sums, 0, 300, 7))
    for row in range(0, 300, 17):
        rest = torch.ones(300, dtype=torch.bool)
        rest[row] = False
        means = [(units * trust[:, None])[rest & (codes == c)].sum(0) for c in range(20)]
        cosines = torch.stack([units[row] @ mean / mean.norm() for mean in means])
        for column, code in enumerate(looked_at[row].tolist()):
            members = (rest & (codes == code)).nonzero()[:, 0]
            product = (units[members] @ units[members].T) * torch.outer(trust[members], trust[members])
            pairs = torch.outer(trust[members], trust[members])
            off = ~torch.eye(len(members), dtype=torch.bool)
            spread = (product[off].sum() / pairs[off].sum()).clamp(0.05**2, 1).sqrt()
            joined = means[code] + units[row]
            ruled_out = {code} | ({int(codes[row])} if is_open[column] else set())
            other = max(float(cosines[c]) for c in range(20) if c not in ruled_out)
            expected = [float(units[row] @ joined / joined.norm()), float(spread), other]
            assert found[row, column].tolist() == pytest.approx(expected, abs=1e-10)


def test_groups_leave_together() -> None:
    units, codes, _ = _planted(members=4)
    twice, both = units.repeat_interleave(2, 0), codes.repeat_interleave(2)
    sums = class_prototypes(twice, both, 20, torch.ones(160).double(), torch.arange(80).repeat_interleave(2))
    single = class_prototypes(units, codes, 20, torch.ones(80).double(), torch.arange(80))
    torch.testing.assert_close(best_classes(sums, 0, 160, 64)[0][::2], best_classes(single, 0, 80, 64)[0])


def test_mean_cosine_is_that_of_different_members() -> None:
    units, _, _ = _planted(members=2)
    off = ~torch.eye(len(units), dtype=torch.bool)
    expected = (units @ units.T + 0.5)[off].mean() - 0.5
    count = torch.tensor(float(len(units))).double()
    found = mean_cosine(units.sum(0).square().sum(), count, count)
    assert float(found) == pytest.approx(max(0.05, max(0.0, float(expected)) ** 0.5))


def test_trust_is_the_density_ratio_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    given = np.concatenate([rng.normal(2, 1, (400, 2)), rng.normal(0, 1, (100, 2))])
    planted = rng.normal(0, 1, (500, 3, 2))
    rows = np.concatenate([given, planted.reshape(-1, 2)])
    rows = (rows - rows.mean(0)) / rows.std(0)
    mass = np.r_[np.ones(500), np.full(1500, 1 / 3)]
    target = np.r_[np.ones(500), np.zeros(1500)]
    odds = (
        LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(rows, target, sample_weight=mass)
    ).decision_function(rows)
    share = np.clip(2 * np.mean(odds[:500] < np.median(odds[500:])), 0.02, 0.5)
    expected = np.clip(1 - share * np.exp(-odds[:500]), 0, 1)
    found = cautious_trust(torch.from_numpy(given), torch.from_numpy(planted)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)  # torch's median is the lower of two


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_share_of_planted_like_labels_is_found(share: float) -> None:
    rng = np.random.default_rng(1)
    n_wrong = round(2000 * share)
    given = np.concatenate([rng.normal(3, 1, (2000 - n_wrong, 1)), rng.normal(0, 1, (n_wrong, 1))])
    found = fit_against_planted(torch.from_numpy(given), torch.from_numpy(rng.normal(0, 1, (2000, 5, 1))))
    assert found.wrong_share == pytest.approx(share, abs=0.02)
    # Where densities are normal, the log odds are linear: 3 x - 4.5, and the prior.
    if share:
        slope = np.polyfit(given[:, 0], found.log_odds.numpy(), 1)[0]
        assert slope == pytest.approx(3.0, abs=0.4)


def test_nothing_to_tell_has_no_gain() -> None:
    gains = []
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        units = _units(torch.randn(300, 8, generator=rng))
        gains.append(find_misfits(units, torch.randint(30, (300,), generator=rng), 30).gain)
    assert max(gains) < 3
    units, codes, _ = _planted()
    assert find_misfits(units, codes, 20).gain > 20


def test_misfits_beat_the_centred_centroid_and_are_calibrated() -> None:
    gains, sizes = [], []
    for seed in range(3):
        units, codes, is_wrong = _planted(seed, spread=1.5)
        found = find_misfits(units, codes, 20)
        sums = torch.zeros(20, 16).double().index_add_(0, codes, units)
        plain = (units * torch.nn.functional.normalize(sums, dim=1)[codes]).sum(1)
        gains.append(
            average_precision_score(is_wrong, -found.fit.log_odds) - average_precision_score(is_wrong, -plain)
        )
        sizes.append(found.fit.wrong_share - float(is_wrong.double().mean()))
    assert min(gains) > 0.0
    assert np.mean(gains) > 0.03
    assert max(map(abs, sizes)) < 0.07


def test_misfits_do_not_depend_on_blocks_or_the_order_of_rows() -> None:
    units, codes, _ = _planted()
    found = find_misfits(units, codes, 20)
    blocked = find_misfits(units, codes, 20, row_block=7, class_block=3)
    torch.testing.assert_close(blocked.fit.log_odds, found.fit.log_odds, atol=1e-7, rtol=0)
    assert bool((blocked.other == found.other).all())
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(5))
    turned = find_misfits(units[order], codes[order], 20)
    torch.testing.assert_close(turned.fit.log_odds, found.fit.log_odds[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_few_classes(n_classes: int) -> None:
    units, codes, is_wrong = _planted(n_classes=n_classes, members=40)
    found = find_misfits(units, codes, n_classes)
    assert average_precision_score(is_wrong, -found.fit.log_odds) > 0.5
    assert bool((found.other != codes).all())
    assert bool((found.further == -1).all()) == (n_classes == 2)


def test_rows_without_direction_and_classes_of_three_are_finite() -> None:
    units, codes, _ = _planted(n_classes=5, members=3)
    units[0] = 0.0
    assert bool(find_misfits(units, codes, 5).fit.log_odds.isfinite().all())


def test_an_identity_under_two_names_is_found() -> None:
    units, codes, _ = _planted(members=20, spread=0.7)
    renamed = codes.clone()
    renamed[(codes == 3).nonzero()[::2, 0]] = 20
    sums = torch.zeros(21, 16).double().index_add_(0, renamed, units)
    counts = torch.bincount(renamed).double()
    found = alike_classes(sums, counts, counts, least=0.7)
    assert (int(found.first[0]), int(found.second[0])) == (3, 20)
    assert float(found.likeness[0]) == pytest.approx(1.0, abs=0.2)
    small = alike_classes(sums, counts, counts, least=0.7, block=4)
    assert small.first.tolist() == found.first.tolist()


def test_likeness_is_the_cosine_of_the_centres() -> None:
    rng = torch.Generator().manual_seed(0)
    centre = torch.nn.functional.normalize(torch.randn(2, 8, generator=rng).double(), dim=1)
    rows = torch.nn.functional.normalize(
        centre.repeat_interleave(4000, 0) + 0.3 * torch.randn(8000, 8, generator=rng).double(), dim=1
    )
    codes = torch.arange(2).repeat_interleave(4000)
    sums = torch.zeros(2, 8).double().index_add_(0, codes, rows)
    counts = torch.bincount(codes).double()
    found = alike_classes(sums, counts, counts, least=-1.0)
    assert float(found.likeness[0]) == pytest.approx(float(centre[0] @ centre[1]), abs=0.02)


def test_two_identities_under_one_name_are_found() -> None:
    units, codes, _ = _planted(members=20, spread=0.5, rate=0.0)
    joined = codes.clone()
    joined[codes == 4] = 3
    found = halved_classes(units, joined, 20)
    assert int(found.likeness[torch.arange(20) != 4].argmin()) == 3
    own = joined == 3
    agreement = (found.side[own] == (codes[own] == 4)).double().mean()
    assert float(agreement) > 0.9 or float(agreement) < 0.1
    assert float(found.likeness[4]) == 1.0  # nobody is left there
