"""TLDR: a small representation in which nearest neighbours stay alike, learned by a Barlow Twins loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tamis.augment import permutation, uniforms
from tamis.data.digests import feature_digests
from tamis.errors import InputError
from tamis.losses.barlow_twins import barlow_twins_loss
from tamis.progress import track
from tamis.reduction.lars import LARS
from tamis.reduction.networks import build_encoder, build_projector
from tamis.reduction.pairs import Similarity, neighbor_graph
from tamis.reduction.reducer import Reducer
from tamis.statistics.warmup_cosine import warmup_cosine_rate
from tamis.types import FloatArray

_LARGEST_BATCH = 1024


class TLDR(Reducer):
    """Reduce features so that a row and its nearest neighbours come out alike, without labels.

    Pairs of a row and one of its nearest neighbours go through an encoder and a projector; the Barlow Twins
    loss makes the two alike in every dimension and the dimensions independent of each other. The projector
    is thrown away. Wrong labels have no part in it, so neighbours of the reduced rows can judge them. Not
    where neighbours in the given features mean little: it trusts them. `PCA` takes a fraction of the time.

    Parameters
    ----------
    n_components : int, default=32
        May be larger than the number of columns.
    n_neighbors : int, default=5
        All others, where there are fewer.
    encoder : str, default="linear"
        Or ``"flinear-LAYERS-WIDTH"``, ``"mlp-LAYERS-WIDTH"``; see `tamis.reduction.networks`.
    projector : str, default="mlp-2-2048"
        ``"mlp-LAYERS-WIDTH"``: hidden layers, and the width of these and of the output; ``"none"``.
    similarity : {"inner_product", "cosine"}, default="inner_product"
        By what the neighbours are the nearest.
    unit_length : bool, default=False
        Whether `transform` scales rows to length 1.
    epochs, warmup_epochs : int, default=100 and 10
        The second at most the first.
    batch_size : int or None, default=None
        At least 2, at most the number of rows; None = 1024, or all rows where there are fewer. A last,
        smaller batch of an epoch is left out.
    rate : float, default=0.2
        Learning rate for batches of 256. The default is for a million rows; see `for_small_data`.
    weight_decay : float, default=1e-6
    off_diagonal_weight : float, default=3.9e-3
    scale : float, default=1/32
        Factor of the loss; the optimiser makes up for it, but for vectors.
    random_state : int, default=0
    device : str, default="auto"
        A torch device for ``fit``; ``"auto"``: the GPU if there is one. `transform` runs on the processor.
    memory_budget : str, int or None, default=None
        For the search for neighbours.

    Attributes
    ----------
    encoder_ : nn.Sequential
        float32, on the processor.
    losses_ : tuple of float
        Mean loss of every epoch; empty after `load`.
    n_features_in_ : int

    Notes
    -----
    The order of rows changes nothing: rows are sorted by content before anything is drawn. A row without
    neighbours (zeros) is paired with itself.

    References
    ----------
    .. [1] Y. Kalantidis, C. Lassance, J. Almazan, D. Larlus. "TLDR: Twin Learning for Dimensionality
       Reduction", TMLR 2022.
    .. [2] J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny. "Barlow Twins: Self-Supervised Learning via
       Redundancy Reduction", ICML 2021.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(60, 8))
    >>> reducer = TLDR(n_components=2, projector="mlp-1-16", epochs=2, warmup_epochs=1, batch_size=20)
    >>> reducer.fit_transform(rows).shape, len(reducer.losses_)
    ((60, 2), 2)
    """

    encoder_: nn.Sequential
    losses_: tuple[float, ...]

    def __init__(
        self,
        *,
        n_components: int = 32,
        n_neighbors: int = 5,
        encoder: str = "linear",
        projector: str = "mlp-2-2048",
        similarity: Similarity = "inner_product",
        unit_length: bool = False,
        epochs: int = 100,
        warmup_epochs: int = 10,
        batch_size: int | None = None,
        rate: float = 0.2,
        weight_decay: float = 1e-6,
        off_diagonal_weight: float = 3.9e-3,
        scale: float = 1 / 32,
        random_state: int = 0,
        device: str = "auto",
        memory_budget: str | int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.encoder = encoder
        self.projector = projector
        self.similarity = similarity
        self.unit_length = unit_length
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.batch_size = batch_size
        self.rate = rate
        self.weight_decay = weight_decay
        self.off_diagonal_weight = off_diagonal_weight
        self.scale = scale
        self.random_state = random_state
        self.device = device
        self.memory_budget = memory_budget

    @classmethod
    def for_small_data(
        cls, n_components: int = 32, *, n_rows: int, random_state: int = 0, device: str = "auto"
    ) -> Self:
        """Return a reduction with settings for thousands to some 100,000 rows and one processor core.

        The published settings make so few steps there that the encoder hardly leaves its first weights. These
        take smaller batches, a narrower projector, a larger rate and neighbours by cosine.

        Parameters
        ----------
        n_components : int
        n_rows : int
            Rows that ``fit`` will see; 20 epochs of 10,000 rows, about as many steps for others.
        random_state : int
        device : str

        Examples
        --------
        >>> TLDR.for_small_data(16, n_rows=5000).epochs
        40
        """
        epochs = max(4, min(100, round(200_000 / max(1, n_rows))))
        return cls(
            n_components=n_components,
            projector="mlp-1-256",
            similarity="cosine",
            epochs=epochs,
            warmup_epochs=max(1, epochs // 10),
            batch_size=max(2, min(256, n_rows)),
            rate=2.0,
            random_state=random_state,
            device=device,
        )

    def _learn(self, rows: FloatArray) -> None:
        self._refuse()
        batch_size = self._checked_batch(len(rows))
        device = self._device()
        # In an order of their own, so that the order in which rows came changes nothing.
        digests = feature_digests(rows)
        rows = rows[np.lexsort((digests[:, 1], digests[:, 0]))]
        graph = neighbor_graph(
            rows,
            min(self.n_neighbors, len(rows) - 1),
            similarity=self.similarity,
            memory_budget=self.memory_budget,
            device=device,
        )
        seed = int(self.random_state)
        encoder = build_encoder(self.encoder, rows.shape[1], self.n_components, seed=seed)
        projector = build_projector(self.projector, self.n_components, seed=seed)
        network = nn.Sequential(encoder, projector).to(device).train()
        inputs = torch.from_numpy(rows).to(device, torch.float32)
        self.losses_ = self._train(network, inputs, torch.from_numpy(graph).to(device), batch_size)
        self.encoder_ = encoder.eval().requires_grad_(False).cpu()

    def _train(self, network: nn.Module, inputs: Tensor, graph: Tensor, batch_size: int) -> tuple[float, ...]:
        """Train on (N, d) inputs and (N, k) neighbours; return the mean loss of every epoch."""
        n, k = graph.shape
        n_batches, seed = n // batch_size, int(self.random_state)
        optimizer = LARS(network.parameters(), lr=0.0, weight_decay=self.weight_decay)
        losses = []
        with track("TLDR", total=self.epochs * n_batches, unit="steps") as advance:
            for epoch in range(self.epochs):
                order = permutation(seed, epoch, n, stream="reduction batch", device=inputs.device)
                drawn = uniforms(seed, epoch, order, 1, stream="reduction neighbor")[:, 0]
                twins = graph[order, (drawn * k).long()]
                total = torch.zeros((), device=inputs.device)
                for number in range(n_batches):
                    rows = slice(number * batch_size, (number + 1) * batch_size)
                    optimizer.param_groups[0]["lr"] = self._rate(epoch * n_batches + number, n, batch_size)
                    loss = barlow_twins_loss(
                        network(inputs[order[rows]]),
                        network(inputs[twins[rows]]),
                        off_diagonal_weight=self.off_diagonal_weight,
                        scale=self.scale,
                    )
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
                    total += loss.detach()
                    advance(1)
                losses.append(float(total) / n_batches)
                if not np.isfinite(losses[-1]):
                    raise InputError(
                        f"the loss is {losses[-1]} in epoch {epoch}; lower rate (it is {self.rate}), or "
                        "scale features of extreme size"
                    )
        return tuple(losses)

    def _rate(self, step: int, n: int, batch_size: int) -> float:
        return warmup_cosine_rate(
            step,
            n_samples=n,
            batch_size=batch_size,
            epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            rate=self.rate,
        )

    def _project(self, rows: FloatArray) -> FloatArray:
        # In float64: a row alone and a row in a block then agree to the last digit of float32.
        encoder = copy.deepcopy(self.encoder_).double()
        with torch.no_grad():
            reduced: Tensor = encoder(torch.from_numpy(rows.astype(np.float64)))
        return (functional.normalize(reduced) if self.unit_length else reduced).numpy()

    def _tensors(self) -> Mapping[str, Tensor]:
        return self.encoder_.state_dict()

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        encoder = build_encoder(self.encoder, self.n_features_in_, self.n_components)
        encoder.load_state_dict(dict(tensors))
        self.encoder_, self.losses_ = encoder.eval().requires_grad_(False), ()

    def _refuse(self) -> None:
        for name, least in (
            ("n_components", 1),
            ("n_neighbors", 1),
            ("epochs", 1),
            ("warmup_epochs", 0),
            ("random_state", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
                raise InputError(f"{name} is {value!r}; expected a whole number of at least {least}")
        for name in ("rate", "weight_decay", "off_diagonal_weight", "scale"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
                raise InputError(f"{name} is {value!r}; expected a number of at least 0")
        if self.warmup_epochs > self.epochs:
            raise InputError(
                f"warmup_epochs is {self.warmup_epochs}; expected at most the {self.epochs} epochs"
            )

    def _checked_batch(self, n: int) -> int:
        if self.batch_size is None:
            return min(_LARGEST_BATCH, n)
        if not isinstance(self.batch_size, Integral) or not 2 <= self.batch_size <= n:
            raise InputError(
                f"batch_size is {self.batch_size!r} with {n} rows; expected 2 to {n}, or None for 1024 or all"
            )
        return int(self.batch_size)

    def _device(self) -> str:
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device
