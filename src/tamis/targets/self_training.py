"""Iterative self-training that does not drift: each round learns from trusted or from pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.counter_draws import step_generator
from tamis.targets.one_hot import checked_codes

Policy: TypeAlias = Literal["gist", "rist", "mix"]
Choice: TypeAlias = Literal["trusted", "pseudo", "mixed"]


class RoundLabels(NamedTuple):
    """What one round is trained on.

    Attributes
    ----------
    labels : (N,) int64 tensor
        -1 where a sample takes no part.
    selected : (N,) bool tensor
        Samples with a label.
    """

    labels: Tensor
    selected: Tensor


def choose_set(
    policy: Policy,
    round_index: int,
    seed: int,
    *,
    validation_scores: Mapping[Literal["trusted", "pseudo"], float] | None = None,
    n_pseudo: int | None = None,
) -> Choice:
    """Return which labels the next model of iterative self-training is trained on.

    A fixed mixture of trusted and pseudo labels repeats the teacher's mistakes round after round. Here each
    round takes one or the other: the one that validates better (``gist``, greedy), or by a fair coin
    (``rist``, random). Use ``rist`` where training both candidates is too dear or the validation set small.

    Parameters
    ----------
    policy : {"gist", "rist", "mix"}
        ``"mix"`` is the fixed mixture, the baseline.
    round_index : int, at least 0
    seed : int
        The coin is a pure function of seed and round.
    validation_scores : mapping with "trusted" and "pseudo", optional
        For ``"gist"``: score, higher = better, of the model of this round after training on either set, both
        from the weights of the round before.
    n_pseudo : int, optional
        Samples with a pseudo label. With 0 of them every policy takes the trusted ones.

    Returns
    -------
    {"trusted", "pseudo", "mixed"}

    Raises
    ------
    InputError
        Another policy, no scores for ``"gist"``, NaN among them, or numbers out of range.

    Notes
    -----
    One round ahead is looked at, and equal scores take the trusted set: the abstract of the paper leaves both
    open.

    References
    ----------
    .. [1] Teh, DeVries, Duke, Jiang, Aarabi, Taylor. "The GIST and RIST of Iterative Self-Training for
       Semi-Supervised Segmentation", 2021, arXiv 2103.17105.

    Examples
    --------
    >>> choose_set("gist", 3, seed=0, validation_scores={"trusted": 0.71, "pseudo": 0.74})
    'pseudo'
    >>> choose_set("rist", 3, seed=0) == choose_set("rist", 3, seed=0)
    True
    """
    if policy not in ("gist", "rist", "mix"):
        raise InputError(f"policy is {policy!r}; expected 'gist', 'rist' or 'mix'")
    coin = step_generator(seed, round_index, "rist").integers(2)
    if n_pseudo == 0:
        return "trusted"
    if policy == "mix":
        return "mixed"
    if policy == "rist":
        return "pseudo" if coin else "trusted"
    if validation_scores is None or {"trusted", "pseudo"} - set(validation_scores):
        raise InputError(
            f"validation_scores is {validation_scores}; the greedy policy needs the scores of both:"
            " {'trusted': ..., 'pseudo': ...}"
        )
    trusted, pseudo = validation_scores["trusted"], validation_scores["pseudo"]
    if np.isnan(trusted) or np.isnan(pseudo):
        raise InputError(f"validation_scores is {dict(validation_scores)}; expected numbers, not NaN")
    return "pseudo" if pseudo > trusted else "trusted"


def round_labels(
    choice: Choice,
    labels: Tensor | npt.ArrayLike,
    trusted: Tensor | npt.ArrayLike,
    pseudo: Tensor | npt.ArrayLike,
) -> RoundLabels:
    """Return the labels of one round.

    Parameters
    ----------
    choice : {"trusted", "pseudo", "mixed"}
        From `choose_set`.
    labels : (N,) int
        Given labels; -1 = unlabelled.
    trusted : (N,) bool
        Whose given label is believed: reviewed samples, or those with a high label score.
    pseudo : (N,) int
        Labels of the newest model, -1 = not sure enough (`pseudo_labels`). Trusted samples need none.

    Returns
    -------
    RoundLabels
        ``"trusted"``: given labels of the trusted samples. ``"pseudo"``: pseudo labels of the others.
        ``"mixed"``: both.

    Raises
    ------
    InputError
        Another choice, or shapes that do not match.

    Examples
    --------
    >>> given, trusted, pseudo = [0, 1, 2, -1], [True, True, False, False], [1, 1, 0, -1]
    >>> round_labels("trusted", given, trusted, pseudo).labels
    tensor([ 0,  1, -1, -1])
    >>> round_labels("pseudo", given, trusted, pseudo).labels
    tensor([-1, -1,  0, -1])
    >>> round_labels("mixed", given, trusted, pseudo).selected
    tensor([ True,  True,  True, False])
    """
    if choice not in ("trusted", "pseudo", "mixed"):
        raise InputError(f"choice is {choice!r}; expected 'trusted', 'pseudo' or 'mixed'")
    # A code is legal up to any number here: which classes there are is the model's business.
    most = torch.iinfo(torch.int64).max
    given = checked_codes(labels, most)
    guessed = checked_codes(pseudo, most, n_samples=len(given)).to(given.device)
    is_trusted = torch.as_tensor(trusted, device=given.device)
    if is_trusted.shape != given.shape or is_trusted.dtype != torch.bool:
        raise InputError(
            f"trusted has shape {tuple(is_trusted.shape)} and dtype {is_trusted.dtype}; expected a mask,"
            f" shape ({len(given)},), bool"
        )
    nothing = torch.full_like(given, -1)
    first = given if choice != "pseudo" else nothing
    second = guessed if choice != "trusted" else nothing
    chosen = torch.where(is_trusted, first, second)
    return RoundLabels(chosen, chosen >= 0)
