"""PRISM: keep what fits the memory of its class better than a threshold that follows the noise rate."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.selectors.prism_scores import (
    Similarity,
    average_logits,
    given_scores,
    refuse_embeddings,
    refuse_similarity,
    vmf_logits,
)
from tamis.selectors.selection import Selection, Selector
from tamis.statistics.class_sums import as_codes, fit_unit_rows
from tamis.statistics.vmf_similarity import ConcentrationRule


class ClassMemory(Protocol):
    """What PRISM asks of a memory; `tamis.memory.EmbeddingMemory` made with ``n_classes`` has it."""

    sums: Tensor
    counts: Tensor
    lengths: Tensor

    def class_products(self, units: Tensor, labels: Tensor) -> Tensor:
        """Return (B, C) products of unit rows with the class sums."""

    def enqueue(self, embeddings: Tensor, labels: Tensor, index: Tensor | None = None) -> None:
        """Store a batch."""


class Filtered(NamedTuple):
    """What `prism_filter` says of a batch.

    Attributes
    ----------
    keep : (B,) bool tensor
    threshold : float
        -inf where nothing was compared.
    quantiles : list of float
        The window afterwards, oldest value first.
    """

    keep: Tensor
    threshold: float
    quantiles: list[float]


@torch.no_grad()
def prism_filter(
    scores: Tensor, rate: float, quantiles: Tensor, *, window: int = 30, certain: float = 1.0
) -> Filtered:
    """Keep the samples above the mean of the last per-batch quantiles of the score.

    Parameters
    ----------
    scores : (B,) float tensor
        From `prism_scores`; -inf or NaN = never kept.
    rate : float in [0, 1)
        Share to leave out, R. Q of a batch is its ``floor(R B)``-th smallest score.
    quantiles : (n,) float tensor
        Finite: Q of earlier batches, oldest first; empty at first.
    window : int
        How many of them, that of this batch included, the threshold is the mean of (sTRM); 1 = this batch
        alone (TRM).
    certain : float
        Score of samples of unseen classes: 1 for P, 0 for log P. A Q equal to it is not recorded.

    Returns
    -------
    Filtered

    Raises
    ------
    InputError
        A rate outside [0, 1) or a window below 1.

    Notes
    -----
    Where ``floor(R B)`` is 0, or no Q is known, all are kept. Where none is above the threshold, exactly
    the ``floor(R B)`` lowest are left out (the first ones among equals), and the window shrinks to its last
    value. A batch with a score of -inf adds no Q.

    References
    ----------
    .. [1] C. Liu et al. "Noise-resistant deep metric learning with ranking-based instance selection",
       CVPR 2021, and the authors' code.

    Examples
    --------
    >>> scores = torch.tensor([0.30, 0.10, 0.25, 0.20])
    >>> keep, threshold, quantiles = prism_filter(scores, 0.5, torch.tensor([0.28]))
    >>> keep, round(threshold, 6)  # the second smallest score is 0.20; the threshold (0.28 + 0.20) / 2
    (tensor([ True, False,  True, False]), 0.24)
    """
    _refuse_filter(rate, window)
    scores = scores.detach().double()
    known: list[float] = quantiles.tolist()[-window:]
    ranked = sorted(score if score > -math.inf else -math.inf for score in scores.tolist())  # NaN lowest
    n_drop = int(rate * len(ranked))
    if n_drop and -math.inf < ranked[0] and ranked[n_drop - 1] < certain:
        known = [*known, ranked[n_drop - 1]][-window:]
    is_usable = scores > -math.inf
    if not n_drop or not known:
        return Filtered(is_usable, -math.inf, known)
    threshold = math.fsum(known) / len(known)
    if ranked[-1] > threshold:
        return Filtered(scores > threshold, threshold, known)
    lowest = scores.nan_to_num(nan=-math.inf).argsort(stable=True)[:n_drop]
    return Filtered(is_usable.index_fill_(0, lowest, False), known[-1], known[-1:])


class Prism(Selector):
    """Selection against a memory of embeddings, for metric learning on partly wrong labels.

    A sample is kept where its embedding fits the remembered members of its class better, relative to all
    other classes, than the lowest share ``rate`` of recent batches. Call `select` before the loss, and
    `commit` after the optimiser's step: only what was kept enters the memory. The rate is always left out,
    on clean labels too.

    Parameters
    ----------
    memory : EmbeddingMemory with classes, or a module that does what `ClassMemory` lists
        Becomes part of this module and of its ``state_dict``.
    rate : float in [0, 1)
        Share to leave out: the noise rate. 0 keeps all.
    similarity : {"average", "vmf"}, default="average"
        Mean cosine to the members, or one von Mises-Fisher distribution a class, better where classes
        differ in spread.
    window : int, default=30
        Batches the threshold is smoothed over (sTRM); 1 = none (TRM).
    warmup : int, default=0
        First batches that are all kept and not remembered.
    absent_in_denominator : bool, default=False
        Parity with the authors' code; see `prism_scores`.
    rule : ConcentrationRule, optional
        "vmf": how concentrations follow from the members.

    Attributes
    ----------
    memory : EmbeddingMemory
    quantiles : (window,) float64 tensor
        Q of the last batches, oldest first, NaN where there are fewer.
    n_quantiles, n_steps : int64 scalars
        Values in it; batches committed.

    Raises
    ------
    InputError
        A parameter out of its range.

    References
    ----------
    .. [1] C. Liu et al. "Noise-resistant deep metric learning with ranking-based instance selection",
       CVPR 2021.
    .. [2] C. Liu et al. "Noise-resistant deep metric learning with probabilistic instance filtering",
       arXiv 2108.01431.

    Examples
    --------
    >>> from tamis.memory import EmbeddingMemory
    >>> selector = Prism(EmbeddingMemory(100, 2, n_classes=2), rate=0.25)
    >>> embeddings = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> selector.commit(selector.select(embeddings, labels), embeddings, labels)
    >>> selection = selector.select(embeddings, torch.tensor([0, 0, 1, 0]))
    >>> selection.keep
    tensor([ True,  True,  True, False])
    """

    quantiles: Tensor
    n_quantiles: Tensor
    n_steps: Tensor

    def __init__(
        self,
        memory: ClassMemory,
        *,
        rate: float,
        similarity: Similarity = "average",
        window: int = 30,
        warmup: int = 0,
        absent_in_denominator: bool = False,
        rule: ConcentrationRule | None = None,
    ) -> None:
        super().__init__()
        _refuse_filter(rate, window)
        refuse_similarity(similarity, absent_in_denominator)
        if warmup < 0:
            raise InputError(f"warmup is {warmup}; expected a number of batches, at least 0")
        if getattr(memory, "counts", None) is None:
            raise InputError("memory has no class sums; make EmbeddingMemory with n_classes")
        self.memory = memory
        self.rate = rate
        self.similarity: Similarity = similarity
        self.window = window
        self.warmup = warmup
        self.absent_in_denominator = absent_in_denominator
        self.rule = ConcentrationRule() if rule is None else rule
        self.register_buffer("quantiles", torch.full((window,), math.nan, dtype=torch.float64))
        for name in ("n_quantiles", "n_steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Judge a batch.

        Parameters
        ----------
        outputs : (B, d) float tensor, or an object with such an attribute ``features``
            Embeddings of any length.
        labels : (B,) int64 tensor
        index : not used

        Returns
        -------
        Selection
            ``clean_scores`` = P ("average") or log P ("vmf"), -inf for NaN; ``threshold`` on the same
            scale, -inf where all are kept.

        Raises
        ------
        InputError
            Wrong types or shapes, or a label that is no class.
        """
        embeddings = embeddings_of(outputs)
        scores = self._scores(embeddings, labels)
        if int(self.n_steps) < self.warmup:
            keep, threshold = scores > -math.inf, -math.inf
        else:
            keep, threshold, _ = self._filter(scores)
        return Selection(keep, keep.to(scores.dtype), scores, threshold)

    @torch.no_grad()
    def commit(
        self, selection: Selection, outputs: object, labels: Tensor, index: Tensor | None = None
    ) -> None:
        """Remember the samples kept and the quantile; in the warm-up only that a batch went by."""
        if int(self.n_steps) >= self.warmup:
            quantiles = self._filter(selection.clean_scores).quantiles
            n = len(quantiles)
            self.n_quantiles.fill_(n)
            self.quantiles.copy_(self.quantiles.new_tensor(quantiles + [math.nan] * (self.window - n)))
            kept = selection.keep.nonzero()[:, 0]
            embeddings = embeddings_of(outputs).detach()[kept]
            self.memory.enqueue(embeddings, labels[kept], None if index is None else index[kept])
        self.n_steps.add_(1)

    def _scores(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        memory = self.memory
        refuse_embeddings(embeddings, memory.sums.shape[1])
        codes = as_codes(labels, len(embeddings), len(memory.counts), device=memory.sums.device)
        units, is_fit = fit_unit_rows(embeddings.to(codes.device))
        products = memory.class_products(units, codes)  # (B, C)
        if self.similarity == "average":
            classes = average_logits(
                memory.counts, products.dtype, absent_in_denominator=self.absent_in_denominator
            )
        else:
            classes = vmf_logits(memory.lengths, memory.counts, embeddings.shape[1], self.rule)
        scores = given_scores(products, codes, classes, memory.counts[codes] > 0, self.similarity)
        return scores.masked_fill_(~is_fit, -math.inf)

    def _filter(self, scores: Tensor) -> Filtered:
        known = self.quantiles[: int(self.n_quantiles)]
        certain = 1.0 if self.similarity == "average" else 0.0
        return prism_filter(scores, self.rate, known, window=self.window, certain=certain)


def embeddings_of(outputs: object) -> Tensor:
    """Return the embeddings of a network's outputs: the tensor itself, or its attribute ``features``.

    Raises
    ------
    InputError
        Neither is a tensor.
    """
    embeddings = getattr(outputs, "features", outputs)
    if not isinstance(embeddings, Tensor):
        raise InputError(
            f"outputs is a {type(outputs).__name__}; expected the embeddings as a tensor of shape (B, d), "
            "or an object with such an attribute 'features'"
        )
    return embeddings


def _refuse_filter(rate: float, window: int) -> None:
    if not 0 <= rate < 1:
        raise InputError(f"rate is {rate}; expected a share of at least 0 and below 1, the noise rate")
    if window < 1:
        raise InputError(f"window is {window}; expected a number of batches, at least 1")
