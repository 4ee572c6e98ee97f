"""PRISM: keep what fits the memory of its class better than a threshold that follows the noise rate."""

from __future__ import annotations

import math
from typing import Protocol

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
from tamis.selectors.quantile_filter import prism_filter, refuse_filter, window_threshold
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
        refuse_filter(rate, window)
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
            keep, threshold, _ = prism_filter(
                scores, self.rate, self._window, window=self.window, certain=self._certain
            )
        return Selection(keep, keep.to(scores.dtype), scores, threshold)

    @torch.no_grad()
    def commit(
        self, selection: Selection, outputs: object, labels: Tensor, index: Tensor | None = None
    ) -> None:
        """Remember the samples kept and the quantile; in the warm-up only that a batch went by."""
        if int(self.n_steps) >= self.warmup:
            scores = selection.clean_scores.double()
            _, quantiles, _ = window_threshold(scores, self.rate, self._window, self.window, self._certain)
            n = len(quantiles)
            self.n_quantiles.fill_(n)
            self.quantiles.copy_(self.quantiles.new_tensor(quantiles + [math.nan] * (self.window - n)))
            kept = selection.keep.nonzero()[:, 0]
            embeddings = embeddings_of(outputs).detach().index_select(0, kept)
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

    @property
    def _window(self) -> Tensor:
        return self.quantiles[: int(self.n_quantiles)]

    @property
    def _certain(self) -> float:
        return 1.0 if self.similarity == "average" else 0.0


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
