"""Proxy confidence (ProcSim-style): anchors weigh as much as their labels are trusted. Experimental."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows, without_autocast
from tamis.losses.labelled_pairs import IndicesTuple
from tamis.losses.multi_similarity import MultiSimilarityLoss
from tamis.losses.proxy_confidence import (
    Normalization,
    check_normalization,
    language_guidance_loss,
    proxy_confidence,
    proxy_losses,
)
from tamis.losses.reduction import reduced
from tamis.losses.relation_weights import check_number
from tamis.statistics.counter_draws import step_generator
from tamis.statistics.labelled_embeddings import finite_embeddings, labelled_embeddings


class ProxyConfidenceLoss(nn.Module):
    """A pair loss, each anchor's part multiplied by a confidence that falls with the distance from its proxy.

    No sample is left out. A proxy for each class is trained with the network, by a proxy loss that is added.
    Call `set_epoch` in every epoch: until ``warmup_epochs`` are over, proxies know nothing and all
    confidences are 1. Experimental: the paper's text was not available, and all but the idea is
    reconstructed, see the method's page.

    Parameters
    ----------
    n_classes, embedding_size : int
        Of the proxies, at least 1.
    base : nn.Module, optional
        ``base(embeddings, labels, indices_tuple, ref_emb, ref_labels)`` -> (B,) losses of the anchors: a loss
        of this package with ``reduction="none"``, or one of pytorch-metric-learning that has a loss for each
        anchor, with ``DoNothingReducer``. By default Multi-Similarity with its mining.
    normalization : {"batch", "sphere", "softmax"}
        See `proxy_confidence`.
    temperature : float
        Above 0; of the proxy loss.
    proxy_weight : float
        At least 0; of the proxy loss. At 0 the proxies stay where they began.
    class_similarity : (C, C) float tensor, optional
        For language guidance, see `language_guidance_loss`.
    language_weight : float
        At least 0; of language guidance.
    normalize_weights : bool
        Divide by the sum of the confidences instead of the batch size, so that a bad batch makes as large a
        step as a good one.
    warmup_epochs : float
        At least 0.
    seed : int
        The first proxies are a pure function of it.

    Attributes
    ----------
    proxies : (C, d) parameter
        Only their directions count. They want a learning rate of their own, about 100 times the backbone's.
    epoch : float
        Set by `set_epoch`, 0 at first.

    Raises
    ------
    InputError
        A parameter out of its range; when called: embeddings or labels that do not fit, or a base that gives
        no loss for each anchor.

    References
    ----------
    .. [1] O. Barbany, X. Lin, M. Bastan, A. Dhua. ProcSim: Proxy-based Confidence for Robust Similarity
       Learning. WACV 2024.

    Examples
    --------
    In a training loop of your own:

    >>> network, loss = nn.Linear(4, 3), ProxyConfidenceLoss(n_classes=2, embedding_size=3)
    >>> groups = [{"params": network.parameters()}, {"params": loss.parameters(), "lr": 1e-2}]
    >>> optimizer = torch.optim.AdamW(groups, lr=1e-4)
    >>> for epoch in range(2):
    ...     loss.set_epoch(epoch)
    ...     loss(network(torch.eye(4)), torch.tensor([0, 0, 1, 1])).backward()
    """

    class_similarity: Tensor | None

    def __init__(
        self,
        n_classes: int,
        embedding_size: int,
        *,
        base: nn.Module | None = None,
        normalization: Normalization = "batch",
        temperature: float = 1.0 / 9.0,
        proxy_weight: float = 1.0,
        class_similarity: Tensor | None = None,
        language_weight: float = 0.0,
        normalize_weights: bool = False,
        warmup_epochs: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("n_classes", n_classes), ("embedding_size", embedding_size)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        check_normalization(normalization)
        check_number("temperature", temperature, above_zero=True)
        check_number("proxy_weight", proxy_weight)
        check_number("language_weight", language_weight)
        check_number("warmup_epochs", warmup_epochs)
        _check_table(class_similarity, n_classes, language_weight)
        self.base = MultiSimilarityLoss(beta=50.0, reduction="none") if base is None else base
        self.normalization: Normalization = normalization
        self.temperature, self.proxy_weight = temperature, proxy_weight
        self.language_weight, self.normalize_weights = language_weight, normalize_weights
        self.warmup_epochs, self.epoch = warmup_epochs, 0.0
        drawn = step_generator(seed, 0, "proxy_confidence").standard_normal((n_classes, embedding_size))
        self.proxies = nn.Parameter(torch.from_numpy(drawn).float())
        self.register_buffer("class_similarity", class_similarity)

    def set_epoch(self, epoch: float) -> None:
        """Tell the loss which epoch begins, from 0; may be a fraction."""
        self.epoch = epoch

    def confidence(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return (B,) confidences in the labels, in [0, 1], warm-up or not; see `proxy_confidence`."""
        return proxy_confidence(
            embeddings,
            labels,
            self.proxies,
            normalization=self.normalization,
            temperature=self.temperature,
        )

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; 0 for an empty one.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            Of any length: they are brought to unit length.
        labels : (B,) integer tensor
            Class codes 0..C-1.
        indices_tuple, ref_emb, ref_labels
            For the base loss.

        Returns
        -------
        scalar tensor
        """
        rows, codes = labelled_embeddings(embeddings, labels, len(self.proxies))
        weights = torch.ones_like(rows[:, 0])
        if self.epoch >= self.warmup_epochs:
            weights = self.confidence(rows, codes).to(rows.dtype)
        losses = weights * self._anchor_losses(unit_rows(rows), codes, indices_tuple, ref_emb, ref_labels)
        if self.normalize_weights:
            total = losses.sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        else:
            total = reduced(losses, "mean")
        if self.proxy_weight > 0:
            proxy = proxy_losses(rows, codes, self.proxies, temperature=self.temperature)
            total = total + self.proxy_weight * reduced(proxy, "mean")
        if self.language_weight > 0 and self.class_similarity is not None:
            language = language_guidance_loss(rows, codes, self.class_similarity)
            total = total + self.language_weight * language
        return total

    def _anchor_losses(
        self,
        rows: Tensor,
        labels: Tensor,
        indices_tuple: IndicesTuple | None,
        ref_emb: Tensor | None,
        ref_labels: Tensor | None,
    ) -> Tensor:
        if not len(rows):
            return rows.sum(dim=1)
        with without_autocast(rows):
            found = self.base(rows, labels, indices_tuple, ref_emb, ref_labels)
        losses = _per_anchor(found, rows) if isinstance(found, Mapping) else found
        if not isinstance(losses, Tensor) or losses.shape != labels.shape:
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                f"base gives {shape} for {len(labels)} anchors; expected ({len(labels)},), a loss for each: "
                'make it with reduction="none", or with reducer=DoNothingReducer()'
            )
        return losses


def _per_anchor(parts: Mapping[str, object], rows: Tensor) -> Tensor:
    """Return the losses of the anchors from what pytorch-metric-learning hands to a reducer."""
    total = rows.sum(dim=1) * 0.0
    for name, part in parts.items():
        assert isinstance(part, Mapping)
        kind, losses = part["reduction_type"], part["losses"]
        if kind == "element":
            total = total.index_add(0, cast("Tensor", part["indices"]), losses.flatten().to(total.dtype))
        elif not (kind == "already_reduced" and not isinstance(losses, Tensor) and losses == 0):
            raise InputError(
                f"base gives a loss ({name!r}) of kind {kind!r}; expected one for each anchor, such as "
                "MultiSimilarityLoss: losses of pairs and triplets cannot be weighted by anchor here"
            )
    return total


def _check_table(class_similarity: Tensor | None, n_classes: int, language_weight: float) -> None:
    if class_similarity is None:
        if language_weight > 0:
            raise InputError(
                f"language_weight is {language_weight} and class_similarity is not given; expected a "
                f"({n_classes}, {n_classes}) table, such as cosines of text embeddings of the class names"
            )
        return
    if finite_embeddings(class_similarity, "class_similarity").shape != (n_classes, n_classes):
        raise InputError(
            f"class_similarity has shape {tuple(class_similarity.shape)}; expected ({n_classes}, {n_classes})"
        )
