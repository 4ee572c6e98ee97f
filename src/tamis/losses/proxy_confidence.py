"""How near each sample is to the proxy of its class, as confidence in its label; and what trains proxies."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows, without_autocast
from tamis.losses.reduction import reduced
from tamis.losses.relation_weights import check_number
from tamis.statistics.labelled_embeddings import finite_embeddings, labelled_embeddings

Normalization: TypeAlias = Literal["batch", "sphere", "softmax"]
"""What a distance to the own proxy is measured by: the batch's range, the sphere's, or the other proxies."""


def own_proxy_distances(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Return the distance of each embedding from the proxy of its label, both scaled to length 1.

    Parameters
    ----------
    embeddings : (B, d) float tensor
    labels : (B,) integer tensor
        Codes 0..C-1.
    proxies : (C, d) float tensor

    Returns
    -------
    (B,) tensor
        In [0, 2]; 1 where either is zeros. No gradient.

    Raises
    ------
    InputError
        Shapes do not fit, a row holds NaN or infinity, or a label has no proxy.

    Examples
    --------
    >>> own_proxy_distances(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 0]), torch.eye(2))
    tensor([1.4142, 1.0000])
    """
    rows, codes, proxies = _checked(embeddings.detach(), labels, proxies.detach())
    # Differences before squares: near its proxy a sample keeps its distance in float32.
    distances: Tensor = torch.linalg.vector_norm(unit_rows(rows) - unit_rows(proxies[codes]), dim=1)
    return distances.clamp_max(2.0)


def proxy_losses(
    embeddings: Tensor, labels: Tensor, proxies: Tensor, *, temperature: float = 1.0 / 9.0
) -> Tensor:
    """Return the cross-entropy of each sample under a softmax of minus squared distances to all proxies.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        Scaled to length 1 here, as the proxies are.
    labels : (B,) integer tensor
        Codes 0..C-1.
    proxies : (C, d) float tensor
        With gradient; those of classes without samples are only pushed away.
    temperature : float
        Above 0; squared distances are divided by it.

    Returns
    -------
    (B,) tensor
        At least 0; log C for a row of zeros.

    Raises
    ------
    InputError
        See `own_proxy_distances`.

    Examples
    --------
    >>> proxy_losses(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), temperature=1.0)
    tensor([0.1269, 0.1269])
    """
    check_number("temperature", temperature, above_zero=True)
    rows, codes, proxies = _checked(embeddings, labels, proxies)
    rows, proxies = unit_rows(rows), unit_rows(proxies)
    with without_autocast(rows):
        products = rows @ proxies.T  # (B, C)
    squares = rows.square().sum(dim=1, keepdim=True) + proxies.square().sum(dim=1) - 2.0 * products
    log_probs = (-squares / temperature).log_softmax(dim=1)
    return -log_probs.gather(1, codes[:, None])[:, 0]


def proxy_confidence(
    embeddings: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    normalization: Normalization = "batch",
    temperature: float = 1.0 / 9.0,
) -> Tensor:
    """Return how far to trust each label: 1 at the proxy of its class, less with the distance.

    Parameters
    ----------
    embeddings : (B, d) float tensor
    labels : (B,) integer tensor
        Codes 0..C-1.
    proxies : (C, d) float tensor
    normalization : {"batch", "sphere", "softmax"}
        ``"batch"``: 1 for the nearest sample of the batch, 0 for the farthest, clean batches too; 1 where
        all are equally far. ``"sphere"``: 1 minus half the distance. ``"softmax"``: probability of the label
        among the proxies.
    temperature : float
        Above 0; for ``"softmax"``.

    Returns
    -------
    (B,) tensor
        In [0, 1]. No gradient.

    Raises
    ------
    InputError
        Another normalisation; else see `own_proxy_distances`.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> labels, proxies = torch.tensor([0, 0, 0]), torch.eye(2)
    >>> proxy_confidence(rows, labels, proxies)
    tensor([1.0000, 0.2929, 0.0000])
    >>> proxy_confidence(rows, labels, proxies, normalization="softmax", temperature=1.0)
    tensor([0.8808, 0.1192, 0.1192])
    """
    check_normalization(normalization)
    if normalization == "softmax":
        with torch.no_grad():
            return (-proxy_losses(embeddings, labels, proxies, temperature=temperature)).exp()
    distances = own_proxy_distances(embeddings, labels, proxies)
    if normalization == "sphere":
        return 1.0 - distances / 2.0
    if not len(distances):
        return distances
    least = distances.amin()
    spread = distances.amax() - least
    return torch.where(spread > 0, 1.0 - (distances - least) / spread.clamp_min(1e-30), 1.0)


def language_guidance_loss(
    embeddings: Tensor, labels: Tensor, class_similarity: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """Return how far the similarities of the classes in a batch are from those of their names.

    A class of the batch is the mean of its unit embeddings; row by row, a softmax of the cosines is compared
    with one of the given similarities.

    Parameters
    ----------
    embeddings : (B, d) float tensor
    labels : (B,) integer tensor
        Codes 0..C-1.
    class_similarity : (C, C) float tensor
        Such as cosines of text embeddings of the class names. No gradient.
    temperature : float
        Above 0; both similarities are divided by it.

    Returns
    -------
    scalar tensor
        KL(given || found), mean over the classes present; 0 where there are less than two.

    Raises
    ------
    InputError
        Shapes do not fit, a row holds NaN or infinity, or a label has no row in the table.

    References
    ----------
    .. [1] K. Roth, O. Vinyals, Z. Akata. Integrating Language Guidance into Vision-Based Deep Metric
       Learning. CVPR 2022; there between samples.

    Examples
    --------
    >>> language_guidance_loss(torch.eye(2), torch.tensor([0, 1]), torch.eye(2))
    tensor(0.)
    """
    check_number("temperature", temperature, above_zero=True)
    given = finite_embeddings(class_similarity.detach(), "class_similarity")
    if given.shape[0] != given.shape[1]:
        raise InputError(f"class_similarity has shape {tuple(given.shape)}; expected (C, C)")
    rows, codes = labelled_embeddings(embeddings, labels, len(given))
    present, places = torch.unique(codes, return_inverse=True)
    sums = rows.new_zeros(len(present), rows.shape[1]).index_add(0, places, unit_rows(rows))
    means = unit_rows(sums)
    with without_autocast(means):
        found = (means @ means.T / temperature).log_softmax(dim=1)
    wanted = (given[present][:, present].to(found) / temperature).log_softmax(dim=1)
    return reduced((wanted.exp() * (wanted - found)).sum(dim=1), "mean")


def check_normalization(normalization: str) -> None:
    """Raise `InputError` where a word is no normalisation."""
    if normalization not in get_args(Normalization):
        raise InputError(
            f"normalization is {normalization!r}; expected one of {', '.join(get_args(Normalization))}"
        )


def _checked(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    proxies = finite_embeddings(proxies, "proxies")
    rows, codes = labelled_embeddings(embeddings, labels, len(proxies))
    if rows.shape[1] != proxies.shape[1]:
        raise InputError(
            f"embeddings have {rows.shape[1]} columns, proxies {proxies.shape[1]}; expected as many"
        )
    # The wider of the two: a float64 batch stays in float64.
    wider = torch.promote_types(rows.dtype, proxies.dtype)
    return rows.to(wider), codes, proxies.to(wider)
