"""Draws: pure functions of (seed, stream, step, sample), and as even and independent as random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from tamis.augment.draws import normals, permutation, uniforms, unit_interval
from tamis.errors import InputError

_MASK = 2**64 - 1


def _splitmix(word: int) -> int:
    """The published finaliser, in unbounded integers."""
    word &= _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def test_hash_is_splitmix64() -> None:
    # First output of splitmix64 from state 0, as published with the generator.
    assert _splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    from tamis.augment.draws import _finalised, _mixed

    rng = np.random.default_rng(0)
    words = rng.integers(-(2**63), 2**63, size=200, dtype=np.int64)
    wanted = [_splitmix(int(word) & _MASK) for word in words]
    assert [int(word) & _MASK for word in _finalised(torch.from_numpy(words).clone())] == wanted
    assert [_mixed(int(word)) for word in words] == wanted


@pytest.mark.parametrize("draw", [uniforms, normals])
def test_row_depends_on_its_sample_only(draw) -> None:
    index = torch.tensor([5, 0, 123456789012, 7, 5])
    whole = draw(3, 2, index, 6, stream="a")
    assert torch.equal(whole[0], whole[4])
    for row, sample in zip(whole, index, strict=True):
        assert torch.equal(row, draw(3, 2, sample[None], 6, stream="a")[0])
    shuffled = torch.tensor([3, 1, 0, 2, 4])
    assert torch.equal(draw(3, 2, index[shuffled], 6, stream="a"), whole[shuffled])
    # More numbers a sample begin with the same ones; int32 rows are the same rows.
    assert torch.equal(draw(3, 2, index, 9, stream="a")[:, :6], whole)
    small = torch.tensor([1, 2], dtype=torch.int32)
    assert torch.equal(draw(3, 2, small, 6, stream="a"), draw(3, 2, small.long(), 6, stream="a"))


@pytest.mark.parametrize("draw", [uniforms, normals])
def test_every_argument_matters(draw) -> None:
    index = torch.arange(50)
    base = draw(1, 1, index, 4, stream="a")
    for other in (
        draw(2, 1, index, 4, stream="a"),
        draw(1, 2, index, 4, stream="a"),
        draw(1, 1, index + 1, 4, stream="a"),
        draw(1, 1, index, 4, stream="b"),
    ):
        assert (base == other).float().mean() < 0.01
        assert abs(np.corrcoef(base.flatten(), other.flatten())[0, 1]) < 0.25


def test_uniforms_are_uniform() -> None:
    draws = uniforms(0, 0, torch.arange(100_000), 8, stream="a")
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.double().T.numpy():
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    # The lowest of the 24 bits, too.
    lowest = (draws.double() * 2**24).long() % 2
    assert stats.binomtest(int(lowest.sum()), lowest.numel()).pvalue > 1e-4


@pytest.mark.parametrize("what", ["index", "step", "stream", "seed", "column"])
def test_neighbours_are_independent(what: str) -> None:
    """Pairs of numbers from neighbouring rows, steps, ... fall evenly on a 20 x 20 grid."""
    index = torch.arange(100_000)
    first = uniforms(0, 0, index, 2, stream="view 0 crop")
    second = {
        "index": lambda: uniforms(0, 0, index + 1, 2, stream="view 0 crop"),
        "step": lambda: uniforms(0, 1, index, 2, stream="view 0 crop"),
        "stream": lambda: uniforms(0, 0, index, 2, stream="view 1 crop"),
        "seed": lambda: uniforms(1, 0, index, 2, stream="view 0 crop"),
        "column": lambda: first.flip(1),
    }[what]()
    # Pairs share no number: with neighbours every second row, with columns one pair a row.
    rows = slice(None, None, 2) if what == "index" else slice(None)
    cells = (first[rows, 0] * 20).long() * 20 + (second[rows, 0] * 20).long()
    counts = torch.bincount(cells, minlength=400).numpy()
    assert stats.chisquare(counts).pvalue > 1e-4


def test_steps_of_one_sample_are_independent() -> None:
    draws = torch.cat([uniforms(0, step, torch.tensor([3]), 4, stream="a") for step in range(1500)])
    assert stats.kstest(draws.flatten().double().numpy(), "uniform").pvalue > 1e-4
    lagged = stats.spearmanr(draws[:-1, 0].numpy(), draws[1:, 0].numpy())
    assert lagged.pvalue > 1e-4


def test_normals_are_normal() -> None:
    draws = normals(0, 0, torch.arange(100_000), 5, stream="a")
    assert draws.shape == (100_000, 5)
    assert draws.dtype == torch.float32
    assert torch.isfinite(draws).all()
    for column in draws.double().T.numpy():
        assert stats.kstest(column, "norm").pvalue > 1e-4
    # The two numbers of one word.
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.02
    assert abs(np.corrcoef(draws[:, 0] ** 2, draws[:, 1] ** 2)[0, 1]) < 0.02


def test_permutation_is_one_and_even() -> None:
    assert permutation(0, 0, 0, stream="a").shape == (0,)
    orders = [permutation(0, step, 4, stream="a").tolist() for step in range(2400)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    counts = np.unique([int("".join(map(str, order))) for order in orders], return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4
    assert torch.equal(permutation(5, 1, 100, stream="a"), permutation(5, 1, 100, stream="a"))


def test_one_number_for_a_step() -> None:
    numbers = [unit_interval(0, step, stream="a") for step in range(5000)]
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    assert unit_interval(0, 3, stream="a") == numbers[3]
    assert unit_interval(0, 3, stream="b") != numbers[3]


def test_numbers_do_not_change_between_versions() -> None:
    """A resumed run must meet the same draws: these were written down once."""
    draws = uniforms(2**64 - 1, 3, torch.tensor([0, 41]), 2, stream="crop")
    assert (draws * 2**24).long().tolist() == WRITTEN


WRITTEN = [[5688433, 9531332], [16006925, 16574475]]


@pytest.mark.parametrize("draw", [uniforms, normals])
def test_edges(draw) -> None:
    assert draw(0, 0, torch.empty(0, dtype=torch.int64), 3, stream="a").shape == (0, 3)
    assert draw(0, 0, torch.arange(2), 0, stream="a").shape == (2, 0)
    assert draw(0, 2**63, torch.tensor([-1, 2**63 - 1]), 1, stream="").shape == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, torch.arange(2), 1), "seed is -1"),
        ((2**64, 0, torch.arange(2), 1), "seed is 18446744073709551616"),
        ((True, 0, torch.arange(2), 1), "seed is True"),
        ((0, -3, torch.arange(2), 1), "step is -3"),
        ((0, 1.5, torch.arange(2), 1), "step is 1.5"),
        ((0, 0, torch.zeros(2), 1), "index has shape .2,. and dtype torch.float32"),
        ((0, 0, torch.zeros(2, 1, dtype=torch.int64), 1), "index has shape .2, 1."),
        ((0, 0, torch.arange(2), -1), "count is -1"),
    ],
)
def test_refusals(arguments, message) -> None:
    for draw in (uniforms, normals):
        with pytest.raises(InputError, match=message):
            draw(*arguments, stream="a")
    with pytest.raises(InputError, match="size is -1"):
        permutation(0, 0, -1, stream="a")
