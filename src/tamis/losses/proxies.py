"""Losses against learned proxies of the classes: SoftTriple, ProxyAnchor, ProxyNCA++."""

from __future__ import annotations

import math
from typing import ClassVar, NoReturn

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.cosine import unit_rows, without_autocast
from tamis.losses.labelled_pairs import IndicesTuple, check_rows, checked_labels
from tamis.statistics.counter_draws import step_generator
from tamis.statistics.labelled_logits import can_read_values

_FEW_CLASSES = 500


class ProxyLoss(nn.Module):
    """A proxy loss of pytorch-metric-learning, safe in half precision, for rows of zeros, for no rows.

    Made by `soft_triple`, `proxy_anchor` and `proxy_nca`. The proxies are parameters and learn with the
    network, usually at a learning rate of their own: `proxy_parameters`. All is computed in their precision,
    float32 unless ``loss.double()`` was called.

    Parameters
    ----------
    published : nn.Module
        Proxy loss of pytorch-metric-learning with one parameter, as many classes as ``n_classes``.
    n_classes : int
    """

    takes_memory: ClassVar[bool] = False

    def __init__(self, published: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.published = published
        self.n_classes = n_classes

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: IndicesTuple | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; 0, connected to embeddings and proxies, for an empty one.

        Parameters
        ----------
        embeddings : (B, d) float tensor
            Of any length: they are brought to unit length.
        labels : (B,) integer tensor
            Class codes, 0..n_classes-1.
        indices_tuple : tuple, optional
            As in pytorch-metric-learning, where how often a sample occurs weighs it.
        ref_emb, ref_labels : None
            Proxies take the place of references.
        index : (B,) integer tensor, optional
            Not used.

        Raises
        ------
        InputError
            References, a label that is no class, shapes that do not fit, or proxies in half precision.
        """
        if ref_emb is not None or ref_labels is not None:
            refuse_memory(type(self.published).__name__)
        (proxies,) = proxy_parameters(self)
        width = proxies.shape[0] if self._is_transposed() else proxies.shape[1]
        check_rows(embeddings, "embeddings", width=width)
        labels = checked_labels(labels, embeddings, "labels").long()
        self._check(proxies, embeddings, labels)
        anchors = unit_rows(embeddings).to(proxies.dtype)
        if not len(anchors):
            return anchors.sum() + 0.0 * proxies.sum()
        with without_autocast(anchors):
            loss: Tensor = self.published(anchors, labels, indices_tuple)
        return loss

    def _is_transposed(self) -> bool:
        return type(self.published).__name__ == "SoftTripleLoss"

    def _check(self, proxies: Tensor, embeddings: Tensor, labels: Tensor) -> None:
        if proxies.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"the proxies are {proxies.dtype}, which loses their small steps; keep the loss in float32 "
                "(do not call half() or bfloat16() on it): autocast and half embeddings work as they are"
            )
        if proxies.device != embeddings.device:
            raise InputError(
                f"the proxies are on {proxies.device}, embeddings on {embeddings.device}; move the loss: "
                f"loss.to({str(embeddings.device)!r})"
            )
        if can_read_values():
            is_wrong = (labels < 0) | (labels >= self.n_classes)
            if is_wrong.any():
                row = int(is_wrong.nonzero()[0, 0])
                raise InputError(
                    f"labels row {row} is {int(labels[row])}; expected a class code from 0 to "
                    f"{self.n_classes - 1} (n_classes={self.n_classes}): leave unlabelled rows out"
                )


def soft_triple(
    n_classes: int,
    embedding_size: int,
    *,
    seed: int,
    n_centers: int | None = None,
    la: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
) -> ProxyLoss:
    """Return SoftTriple: a softmax over classes, each with several centres.

    Parameters
    ----------
    n_classes, embedding_size : int
        At least 1.
    seed : int
        The centres are a pure function of it.
    n_centers : int, optional
        Centres of a class; by default 10 below 500 classes, else 2.
    la : float
        Scale of the similarities to classes.
    gamma : float
        Temperature of the choice among the centres of a class.
    margin : float
        By how much the given class must lead.

    Raises
    ------
    InputError
        A number out of range.

    References
    ----------
    .. [1] Q. Qian et al. "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV 2019.

    Examples
    --------
    >>> loss = soft_triple(3, 4, seed=0)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.published.fc.shape
    torch.Size([4, 30])
    """
    from pytorch_metric_learning.losses import SoftTripleLoss

    n_centers = (10 if n_classes < _FEW_CLASSES else 2) if n_centers is None else n_centers
    refuse_nonpositive(
        n_classes=n_classes, embedding_size=embedding_size, n_centers=n_centers, la=la, gamma=gamma
    )
    published = SoftTripleLoss(
        n_classes, embedding_size, n_centers, la, gamma, margin, weight_init_func=nn.Identity()
    )
    # Uniform within 1 over the root of the columns, as the published code has it.
    bound = 1.0 / math.sqrt(n_classes * n_centers)
    drawn = step_generator(seed, 0, "soft_triple").uniform(-bound, bound, tuple(published.fc.shape))
    return _filled(published, torch.from_numpy(drawn), n_classes)


def proxy_anchor(
    n_classes: int, embedding_size: int, *, seed: int, margin: float = 0.1, alpha: float = 32.0
) -> ProxyLoss:
    """Return ProxyAnchor: every proxy pulls the hardest samples of its class and pushes the hardest others.

    Parameters
    ----------
    n_classes, embedding_size : int
        At least 1.
    seed : int
        The proxies are a pure function of it.
    margin : float
    alpha : float
        Scale: how much the hardest weigh.

    Raises
    ------
    InputError
        A number out of range.

    References
    ----------
    .. [1] S. Kim et al. "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020.

    Examples
    --------
    >>> loss = proxy_anchor(3, 4, seed=0)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    """
    from pytorch_metric_learning.losses import ProxyAnchorLoss

    refuse_nonpositive(n_classes=n_classes, embedding_size=embedding_size, alpha=alpha)
    published = ProxyAnchorLoss(n_classes, embedding_size, margin, alpha, weight_init_func=nn.Identity())
    drawn = step_generator(seed, 0, "proxy_anchor").standard_normal((n_classes, embedding_size))
    return _filled(published, torch.from_numpy(drawn * math.sqrt(2.0 / n_classes)), n_classes)


def proxy_nca(n_classes: int, embedding_size: int, *, seed: int, temperature: float = 1.0 / 9.0) -> ProxyLoss:
    """Return ProxyNCA with the settings of ProxyNCA++: a softmax of distances to proxies, sharpened.

    Parameters
    ----------
    n_classes, embedding_size : int
        At least 1.
    seed : int
        The proxies are a pure function of it.
    temperature : float
        Above 0; 1/9 as in ProxyNCA++, 1 for ProxyNCA. pytorch-metric-learning's ``softmax_scale`` is 1 over
        it.

    Raises
    ------
    InputError
        A number out of range.

    Notes
    -----
    Distances are squared, between unit vectors, and the own proxy stands in the denominator, as in
    ProxyNCA++. Its other changes (global max pooling, layer normalisation, a class-balanced sampler, faster
    proxies) belong to the network and the loop.

    References
    ----------
    .. [1] E. W. Teh, T. DeVries, G. W. Taylor. "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood
       Component Analysis", ECCV 2020.

    Examples
    --------
    >>> loss = proxy_nca(3, 4, seed=0)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    """
    from pytorch_metric_learning.losses import ProxyNCALoss

    refuse_nonpositive(n_classes=n_classes, embedding_size=embedding_size, temperature=temperature)
    published = ProxyNCALoss(
        n_classes, embedding_size, softmax_scale=1.0 / temperature, weight_init_func=nn.Identity()
    )
    drawn = step_generator(seed, 0, "proxy_nca").standard_normal((n_classes, embedding_size))
    return _filled(published, torch.from_numpy(drawn), n_classes)


def proxy_parameters(loss: nn.Module) -> list[nn.Parameter]:
    """Return the proxies of a loss, for a learning rate of their own; none of a pair loss.

    Examples
    --------
    >>> network, loss = nn.Linear(8, 4), proxy_anchor(3, 4, seed=0)
    >>> optimizer = torch.optim.AdamW(
    ...     [{"params": network.parameters()}, {"params": proxy_parameters(loss), "lr": 1e-1}], lr=1e-3
    ... )
    """
    return list(loss.parameters())


def refuse_nonpositive(**numbers: float) -> None:
    """Raise `InputError` for a number that is not above 0."""
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; expected a number above 0")


def refuse_memory(name: str) -> NoReturn:
    """Raise the `InputError` of a proxy loss that is to take a memory."""
    raise InputError(
        f"{name} compares embeddings with its own proxies and takes no memory (ref_emb); use a pair loss, "
        "contrastive or multi_similarity, or leave the memory out"
    )


def _filled(published: nn.Module, values: Tensor, n_classes: int) -> ProxyLoss:
    loss = ProxyLoss(published, n_classes)
    (proxies,) = proxy_parameters(loss)
    with torch.no_grad():
        proxies.copy_(values)
    return loss
