"""Losses of metric learning by name, with the facts that a training recipe asks about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from tamis.errors import InputError
from tamis.losses.contrastive import ContrastiveLoss
from tamis.losses.multi_similarity import MultiSimilarityLoss
from tamis.losses.pair_loss import PairLoss
from tamis.losses.proxies import ProxyLoss, proxy_anchor, proxy_nca, refuse_memory, soft_triple

MetricLossName: TypeAlias = Literal[
    "contrastive", "multi_similarity", "soft_triple", "proxy_anchor", "proxy_nca"
]
"""What `make_metric_loss` makes."""


class MetricLoss(NamedTuple):
    """A loss and what it needs.

    Attributes
    ----------
    build : callable
    takes_memory : bool
        Whether it compares with references; such pair losses need no number of classes.
    has_proxies : bool
        Whether it has parameters, which learn at a rate of their own.
    """

    build: Callable[..., PairLoss | ProxyLoss]
    takes_memory: bool
    has_proxies: bool


METRIC_LOSSES: Mapping[str, MetricLoss] = MappingProxyType(
    {
        "contrastive": MetricLoss(ContrastiveLoss, takes_memory=True, has_proxies=False),
        "multi_similarity": MetricLoss(MultiSimilarityLoss, takes_memory=True, has_proxies=False),
        "soft_triple": MetricLoss(soft_triple, takes_memory=False, has_proxies=True),
        "proxy_anchor": MetricLoss(proxy_anchor, takes_memory=False, has_proxies=True),
        "proxy_nca": MetricLoss(proxy_nca, takes_memory=False, has_proxies=True),
    }
)
"""Name to loss."""


def takes_memory(name: str) -> bool:
    """Say whether a loss compares embeddings with references, such as a memory, and not with proxies.

    Raises
    ------
    InputError
        A name that does not exist.

    Examples
    --------
    >>> takes_memory("contrastive"), takes_memory("proxy_anchor")
    (True, False)
    """
    return _named(name).takes_memory


def make_metric_loss(
    name: str,
    *,
    n_classes: int,
    embedding_size: int,
    seed: int = 0,
    memory: bool = False,
    **options: float | str | None,
) -> PairLoss | ProxyLoss:
    """Return a loss by its name.

    Parameters
    ----------
    name : {"contrastive", "multi_similarity", "soft_triple", "proxy_anchor", "proxy_nca"}
    n_classes, embedding_size : int
        Pair losses use neither.
    seed : int, default=0
        Of the proxies.
    memory : bool, default=False
        Whether the loss will be called with ``ref_emb``, as only pair losses can be.
    **options
        Parameters of the loss: ``margin``, ``alpha``, ``temperature``, ...

    Raises
    ------
    InputError
        A name or an option that does not exist, or a memory for a loss with proxies.

    Examples
    --------
    >>> make_metric_loss("contrastive", n_classes=5, embedding_size=8, margin=0.4).margin
    0.4
    """
    loss = _named(name)
    if memory and not loss.takes_memory:
        refuse_memory(name)
    given = {"n_classes", "embedding_size", "seed"}
    known = [option for option in inspect.signature(loss.build).parameters if option not in given]
    for option in options:
        if option not in known:
            raise InputError(f"{option!r} is no option of {name}; expected one of {', '.join(known)}")
    if loss.has_proxies:
        return loss.build(n_classes, embedding_size, seed=seed, **options)
    return loss.build(**options)


def _named(name: str) -> MetricLoss:
    if name not in METRIC_LOSSES:
        raise InputError(f"name is {name!r}; expected one of {', '.join(METRIC_LOSSES)}")
    return METRIC_LOSSES[name]
