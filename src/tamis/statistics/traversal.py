"""InsCLR's mining: which candidates belong to a group, found by walking from its members over likeness."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32

Start: TypeAlias = Literal["b+i", "b+0", "a+i"]
"""Where the walk begins: batch and initial positives, batch alone, or anchor and its own positives."""

_FORM = re.compile(r"(b\+i|b\+0|a\+i)_tr(\d+)((?:_(?:avg|max)\d*\.?\d+)+)((?:_(?:k\d+|t\d*\.?\d+))+)")
_TINY = 1e-6


@dataclass(frozen=True)
class Score:
    """How like a candidate is to the members: over its similarities of at least ``least``.

    Attributes
    ----------
    kind : {"avg", "max"}
        Their mean (sum / (count + 1e-6)) or their largest; 0 without any.
    least : float
    """

    kind: Literal["avg", "max"]
    least: float


@dataclass(frozen=True)
class Take:
    """Which candidates join in one round.

    Attributes
    ----------
    count : int or None
        The best so many, of those with a similarity that counts; None where ``least`` decides.
    least : float
        Else all whose score is at least this.
    """

    count: int | None
    least: float = 0.0


@dataclass(frozen=True)
class Mode:
    """How to walk; `parse_mode` reads it from a text.

    Attributes
    ----------
    start : {"b+i", "b+0", "a+i"}
    rounds : int
    scores, takes : tuple
        One for each round; the last one again for the rounds beyond.
    """

    start: Start
    rounds: int
    scores: tuple[Score, ...]
    takes: tuple[Take, ...]


def parse_mode(mode: str) -> Mode:
    """Read a mode such as ``b+i_tr4_avg0.60_k05``: start, rounds, scores, takes.

    Raises
    ------
    InputError
        The text has another form.

    Examples
    --------
    >>> mode = parse_mode("b+i_tr4_avg0.60_k05")
    >>> mode.start, mode.rounds, mode.scores[0].least, mode.takes[0].count
    ('b+i', 4, 0.6, 5)
    """
    match = _FORM.fullmatch(mode) if isinstance(mode, str) else None
    if match is None:
        raise InputError(
            f"mode is {mode!r}; expected START_trROUNDS_SCORE_TAKE with START b+i, b+0 or a+i, SCORE avgX or "
            "maxX and TAKE kN or tX, such as 'b+i_tr4_avg0.60_k05'"
        )
    scores = tuple(
        Score("avg" if text.startswith("avg") else "max", float(text[3:])) for text in match[3].split("_")[1:]
    )
    takes = tuple(
        Take(int(text[1:])) if text.startswith("k") else Take(None, float(text[1:]))
        for text in match[4].split("_")[1:]
    )
    return Mode(cast(Start, match[1]), int(match[2]), scores, takes)


@torch.no_grad()
def select_positives(
    batch_features: Tensor,
    candidate_features: Tensor,
    init_features: Tensor,
    anchor_init_features: Tensor | None = None,
    *,
    mode: str | Mode = "b+i_tr4_avg0.60_k05",
) -> tuple[Tensor, Tensor]:
    """Return which candidates the walk reaches, and the score each had when it was taken.

    The members begin as the mode says. In every round each candidate that is not taken yet is scored against
    all members, and those that the mode takes become members: so a chain of samples, each like the one
    before, is found where the ends are not alike at all. Sums over members grow by the new members only.

    Parameters
    ----------
    batch_features : (b, d) float tensor
        Members of the batch, the anchor first; unit rows.
    candidate_features : (c, d) float tensor
    init_features : (i, d) float tensor
        Initial positives of the group.
    anchor_init_features : (a, d) float tensor, optional
        Those of the anchor alone, needed by modes that start with ``a+i``.
    mode : str or Mode

    Returns
    -------
    is_selected : (c,) bool tensor
    scores : (c,) float tensor
        0 where it is not selected.

    Raises
    ------
    InputError
        A mode of another form, or widths that differ.

    Notes
    -----
    Equal scores at the edge of ``kN``: the candidate that stands first.

    References
    ----------
    .. [1] Z. Deng, Y. Zhong, S. Guo, W. Huang. "InsCLR: Improving Instance Retrieval with Self-Supervision",
       AAAI 2022, and the authors' code.

    Examples
    --------
    >>> angles = torch.tensor([0.0, 0.5, 1.0, 1.5])  # neighbours have a cosine of 0.88
    >>> points = torch.stack((angles.cos(), angles.sin()), dim=1)
    >>> for mode in ("b+0_tr1_max0.80_t0.80", "b+0_tr3_max0.80_t0.80"):
    ...     print(select_positives(points[:1], points[1:], points[:0], mode=mode)[0].tolist())
    [True, False, False]
    [True, True, True]
    """
    walk = parse_mode(mode) if isinstance(mode, str) else mode
    candidates = at_least_float32(candidate_features)
    members = _start(walk.start, batch_features, init_features, anchor_init_features).to(candidates.dtype)
    if candidates.ndim != 2 or members.shape[1:] != candidates.shape[1:]:
        raise InputError(
            f"candidates have shape {tuple(candidates.shape)} and members {tuple(members.shape)}; expected "
            "rows of one width"
        )
    is_selected = torch.zeros(len(candidates), dtype=torch.bool, device=candidates.device)
    taken_at = candidates.new_zeros(len(candidates))
    likeness = {score: _Likeness(score, candidates) for score in walk.scores}
    for number in range(walk.rounds if len(candidates) else 0):
        for each in likeness.values():
            each.add(members)
        now = likeness[walk.scores[min(number, len(walk.scores) - 1)]]
        scores = now.scores().masked_fill(is_selected, 0.0)
        counts = now.count.masked_fill(is_selected, 0)
        new = _taken(scores, counts, walk.takes[min(number, len(walk.takes) - 1)]) & ~is_selected
        taken_at = torch.where(new, scores, taken_at)
        is_selected = is_selected | new
        members = candidates[new]
    return is_selected, taken_at


class _Likeness:
    """Sum, number and largest of each candidate's similarities to the members that count."""

    def __init__(self, score: Score, candidates: Tensor) -> None:
        self._score = score
        self._candidates = candidates
        self.total = candidates.new_zeros(len(candidates))
        self.largest = candidates.new_zeros(len(candidates))
        self.count = torch.zeros(len(candidates), dtype=torch.int64, device=candidates.device)

    def add(self, members: Tensor) -> None:
        """Count new members too."""
        if not len(members):
            return
        similarities = self._candidates @ members.T  # (candidates, members)
        counts = similarities >= self._score.least
        kept = similarities.masked_fill(~counts, 0.0)
        self.total += kept.sum(dim=1)
        self.count += counts.sum(dim=1)
        self.largest = torch.maximum(self.largest, kept.amax(dim=1))

    def scores(self) -> Tensor:
        """Return the scores of all candidates, 0 for those without a similarity that counts."""
        if self._score.kind == "max":
            return self.largest
        return self.total / (self.count + _TINY)


def _start(start: Start, batch: Tensor, init: Tensor, anchor_init: Tensor | None) -> Tensor:
    if start == "b+0":
        return batch
    if start == "b+i":
        return torch.cat((batch, init))
    if anchor_init is None:
        raise InputError("the mode starts with a+i; give anchor_init_features, the anchor's own positives")
    return torch.cat((batch[:1], anchor_init))


def _taken(scores: Tensor, counts: Tensor, take: Take) -> Tensor:
    if take.count is None:
        return scores >= take.least
    count = min(take.count, int((counts > 0).sum()))
    best = scores.sort(descending=True, stable=True).indices[:count]
    return torch.zeros_like(scores, dtype=torch.bool).index_fill_(0, best, True)
