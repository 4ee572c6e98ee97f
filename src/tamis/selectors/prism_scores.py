"""Clean probabilities of PRISM: how well a sample fits the memory of its class, beside all other classes."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.statistics.class_sums import as_codes, fit_unit_rows
from tamis.statistics.vmf_similarity import ConcentrationRule
from tamis.statistics.von_mises_fisher import log_normaliser

Similarity: TypeAlias = Literal["average", "vmf"]

_FINITE = torch.finfo(torch.float64).max
_NO_DIRECTION = 1e3  # a sum shorter than this many rounding errors a member points nowhere


class ClassLogits(NamedTuple):
    """Logits of the classes as ``bias + scale * (unit row . class sum)``: sums are never divided.

    Attributes
    ----------
    scale, bias : (C,) tensors
        The bias is -inf for a class that takes no part.
    """

    scale: Tensor
    bias: Tensor


def average_logits(counts: Tensor, dtype: torch.dtype, *, absent_in_denominator: bool = False) -> ClassLogits:
    """Return the logits whose value is the mean cosine with all members of a class.

    Parameters
    ----------
    counts : (C,) int64 tensor
        Members of each class.
    dtype : torch.dtype
        Of the result.
    absent_in_denominator : bool
        Classes without members have logit 0 instead of none.

    Examples
    --------
    >>> average_logits(torch.tensor([4, 0]), torch.float32)
    ClassLogits(scale=tensor([0.2500, 1.0000]), bias=tensor([0., -inf]))
    """
    scale = counts.clamp(min=1).to(dtype).reciprocal()
    bias = torch.zeros_like(scale)
    return ClassLogits(scale, bias if absent_in_denominator else bias.masked_fill_(counts == 0, -math.inf))


def vmf_logits(lengths: Tensor, counts: Tensor, dimension: int, rule: ConcentrationRule) -> ClassLogits:
    """Return the logits whose value is the von Mises-Fisher log density of a class, up to a constant.

    Parameters
    ----------
    lengths : (C,) float tensor
        Length of the sum of the unit vectors of each class.
    counts : (C,) int64 tensor
    dimension : int
    rule : ConcentrationRule
        Classes with fewer members than its ``min_count`` borrow the median concentration of the others.

    Returns
    -------
    ClassLogits
        In the dtype of ``lengths``; computed in float64. The largest bias, which all classes share in a
        softmax, is taken off.

    Examples
    --------
    >>> lengths, counts = torch.tensor([2.0, 2.8, 0.9]), torch.tensor([3, 3, 1])
    >>> scale, bias = vmf_logits(lengths, counts, 4, ConcentrationRule())
    >>> scale * lengths  # concentrations; the third class has the median of the others
    tensor([ 4.2667, 22.6575, 13.4621])
    """
    wide = lengths.double()
    kappa = rule.kappa(wide, counts, dimension)  # (C,)
    is_large, is_present = counts >= rule.min_count, counts > 0
    kappa = torch.where(is_large, kappa, _lent(kappa[is_large], rule))
    bias = log_normaliser(kappa, dimension).masked_fill_(~is_present, -math.inf)
    bias -= bias.amax().clamp_(min=-_FINITE)  # a large number that all classes share costs float32 digits
    resolution = _NO_DIRECTION * torch.finfo(lengths.dtype).eps * counts
    scale = kappa / torch.where(lengths > resolution, wide, math.inf)
    return ClassLogits(scale.to(lengths.dtype), bias.to(lengths.dtype))


def _lent(lenders: Tensor, rule: ConcentrationRule) -> Tensor:
    """Return the median of the concentrations, the mean of the two middle ones of an even number."""
    if not len(lenders):
        return lenders.new_full((), rule.alone)
    return (lenders.median() - (-lenders).median()) / 2  # `median` is the lower of the two


def given_scores(
    products: Tensor, labels: Tensor, classes: ClassLogits, is_known: Tensor, similarity: Similarity
) -> Tensor:
    """Return P of the given label (average) or its logarithm in float64 (vMF).

    Parameters
    ----------
    products : (B, C) tensor
        Unit rows times class sums; overwritten.
    labels : (B,) int64 tensor
    classes : ClassLogits
    is_known : (B,) bool tensor
        Where False, the class of the label has no members and P is 1.
    similarity : {"average", "vmf"}
    """
    logits = torch.addcmul(classes.bias, products, classes.scale, out=products)
    if similarity == "average":
        scores = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        return torch.where(is_known, scores, 1.0)
    # log P = -log(1 + odds against): where concentrations are in the hundreds, P and the logarithm of a P
    # near 1 would be the same for all good rows.
    own = logits.gather(1, labels[:, None])[:, 0].double()
    others = _logsumexp(logits.scatter_(1, labels[:, None], -math.inf))
    return torch.where(is_known, -functional.softplus(others - own), 0.0)


def _logsumexp(logits: Tensor) -> Tensor:
    """Return the logarithm of the sum of exponentials of each row in float64, -inf where all are.

    By way of `log_softmax`: `torch.logsumexp` takes 20 times as long where most exponentials vanish.
    """
    largest = logits.amax(dim=1).double()
    normalised = logits.log_softmax(dim=1).amax(dim=1).double()
    return torch.where(largest > -math.inf, largest - normalised, -math.inf)


@torch.no_grad()
def prism_scores(
    embeddings: Tensor,
    labels: Tensor,
    sums: Tensor,
    counts: Tensor,
    *,
    similarity: Similarity = "average",
    absent_in_denominator: bool = False,
    rule: ConcentrationRule | None = None,
) -> Tensor:
    """Return how clean the labels of a batch are, judged by the sums of the unit vectors of each class.

    ``P = exp T[given] / sum of exp T[k]`` over classes with members. T is the mean cosine to the members of a
    class ("average"), or the log density of the von Mises-Fisher distribution fitted to them ("vmf"), which
    knows that classes differ in spread. A score to rank by: with "average" it is always near 1/C.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        Any length; a row of zeros has T = 0 to every class (as far as cosines go).
    labels : (B,) int64 tensor
        0..C-1.
    sums : (C, d) float tensor
        Sums of unit vectors, as `tamis.memory.EmbeddingMemory` and `tamis.statistics.class_sums.ClassSums`
        keep them. Arithmetic runs in its dtype.
    counts : (C,) int64 tensor
    similarity : {"average", "vmf"}
    absent_in_denominator : bool
        Parity with the authors' code, "average" only: classes without members add exp(0) each.
    rule : ConcentrationRule, optional
        "vmf" only.

    Returns
    -------
    (B,) tensor without gradient
        Higher = cleaner. "average": P in (0, 1], 1 where the class has no members, -inf where the row holds
        NaN or infinity. "vmf": log P in float64, at most 0, and likewise 0 and -inf.

    Raises
    ------
    InputError
        Shapes do not fit, a label outside 0..C-1, or another similarity.

    References
    ----------
    .. [1] C. Liu et al. "Noise-resistant deep metric learning with ranking-based instance selection",
       CVPR 2021, section 3.
    .. [2] C. Liu et al. "Noise-resistant deep metric learning with probabilistic instance filtering",
       arXiv 2108.01431 (vMF; the formula here follows from the density).

    Examples
    --------
    >>> sums, counts = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([2, 2])
    >>> prism_scores(torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1]), sums, counts)
    tensor([0.7311, 0.2689])
    """
    refuse_similarity(similarity, absent_in_denominator)
    if sums.ndim != 2 or counts.shape != sums.shape[:1]:
        raise InputError(
            f"sums has shape {tuple(sums.shape)} and counts {tuple(counts.shape)}; expected (C, d) and (C,)"
        )
    refuse_embeddings(embeddings, sums.shape[1])
    codes = as_codes(labels, len(embeddings), len(sums), device=sums.device)
    if similarity == "average":
        classes = average_logits(counts, sums.dtype, absent_in_denominator=absent_in_denominator)
    else:
        lengths = torch.linalg.vector_norm(sums, dim=1)
        classes = vmf_logits(lengths, counts, sums.shape[1], rule or ConcentrationRule())
    units, is_fit = fit_unit_rows(embeddings.to(sums.device))
    with torch.autocast(sums.device.type, enabled=False):
        products = units.to(sums.dtype) @ sums.T  # (B, C)
    scores = given_scores(products, codes, classes, counts[codes] > 0, similarity)
    return scores.masked_fill_(~is_fit, -math.inf)


def refuse_embeddings(embeddings: Tensor, n_features: int) -> None:
    """Raise an InputError for anything but a (B, d) floating-point tensor."""
    if embeddings.ndim != 2 or embeddings.shape[1] != n_features or not embeddings.is_floating_point():
        raise InputError(
            f"embeddings has shape {tuple(embeddings.shape)} and dtype {embeddings.dtype}; expected "
            f"(rows, {n_features}), floating point"
        )


def refuse_similarity(similarity: str, absent_in_denominator: bool) -> None:
    """Raise an InputError for an unknown similarity, or one without the argument's meaning."""
    if similarity not in get_args(Similarity):
        raise InputError(
            f"similarity is {similarity!r}; expected one of {', '.join(map(repr, get_args(Similarity)))}"
        )
    if absent_in_denominator and similarity != "average":
        raise InputError(
            "absent_in_denominator is True with similarity='vmf'; the authors' code has 'average' only: "
            "leave it False"
        )
