"""Losses of pairs whose gradient is written where the similarities were: two products and a few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.cosine import without_autocast
from tamis.losses.pair_sources import PairSource

PairTerms: TypeAlias = Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor]]
"""``terms(positives, is_positive, negatives, is_rounded) -> losses, gradient of the positives``.

Of ``positives`` (b, P) only those count where ``is_positive``. ``negatives`` (b, M) is minus infinity where a
pair is no negative, and holds the gradient of the negatives afterwards, 0 at minus infinity. ``is_rounded``:
the similarities have 8 bits, those of bfloat16.
"""

BLOCK_BYTES = 2**21
"""Bytes of the references of one product; they stay in the cache of the processor."""

ENTRIES = 2**24
"""Similarities held at a time against references without gradient: 64 MB."""


def anchor_losses(
    anchors: Tensor,
    references: Tensor,
    scales: Tensor | None,
    source: PairSource,
    terms: PairTerms,
    *,
    is_close: bool = True,
) -> Tensor:
    """Return a loss for each anchor, from its similarities to the references.

    References without gradient, a memory, may be of any precision. Their gradient costs nothing, the anchors'
    is computed with the loss, and no matrix of anchors times references outlives the call. bfloat16 stays
    bfloat16 in both products where the device has units for it.

    Parameters
    ----------
    anchors : (B, d) float32 or float64 tensor
    references : (M, d) float tensor
        M at least 1.
    scales : (M,) tensor, optional
        Factors of the references' similarities, such as 1 over their lengths; references with gradient take
        none.
    source : PairSource
    terms : callable
        The loss itself; see `PairTerms`. An anchor's loss must depend on its own similarities only.
    is_close : bool, default=True
        Whether similarities against bfloat16 references are computed to float32 all the same (a third
        product), or rounded to bfloat16.

    Returns
    -------
    (B,) tensor
        Differentiable once.
    """
    with without_autocast(anchors):
        # Function.apply carries no types.
        return cast("Tensor", _AnchorLosses.apply(anchors, references, scales, source, terms, is_close))  # type: ignore[no-untyped-call]


class _AnchorLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - FunctionCtx knows neither its tensors nor our attributes
        anchors: Tensor,
        references: Tensor,
        scales: Tensor | None,
        source: PairSource,
        terms: PairTerms,
        is_close: bool,
    ) -> Tensor:
        needs_anchors, needs_references = ctx.needs_input_grad[:2]
        losses, pulled = anchors.new_empty(len(anchors)), torch.empty_like(anchors)
        gradient = anchors.new_empty(0)
        is_rounded = not is_close and has_low_product(anchors, references)
        step = len(anchors) if needs_references else max(1, ENTRIES // len(references))
        for rows in _pieces(len(anchors), step):
            gradient = similarities(anchors[rows], references, scales, is_close=is_close)  # (b, M)
            positives, found = source.split(gradient, rows)
            losses[rows], gradient_found = terms(found, positives.is_pair, gradient, is_rounded)
            positives.write(gradient, gradient_found)
            if needs_anchors and not needs_references:
                pulled[rows] = weighted_sums(
                    gradient if scales is None else gradient.mul_(scales), references
                )
        if needs_references:
            ctx.save_for_backward(gradient, anchors, references)
        elif needs_anchors:
            ctx.save_for_backward(pulled)
        return losses

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if torch.is_grad_enabled():
            raise InputError(
                "create_graph asks a loss of pairs for second derivatives, which it does not have; "
                "call backward without it"
            )
        nothing = (None,) * 4
        if not ctx.needs_input_grad[1]:
            (pulled,) = ctx.saved_tensors
            return (pulled * outer[:, None], None, *nothing)
        gradient, anchors, references = ctx.saved_tensors
        with without_autocast(anchors):
            weighted = gradient * outer[:, None]
            return (weighted @ references, weighted.T @ anchors, *nothing)


def similarities(
    anchors: Tensor, references: Tensor, scales: Tensor | None = None, *, is_close: bool = True
) -> Tensor:
    """Return the (B, M) dot products in the precision of the anchors, a block of references at a time.

    Examples
    --------
    >>> similarities(torch.eye(2), torch.tensor([[3.0, 4.0]]), torch.tensor([0.2]))
    tensor([[0.6000],
            [0.8000]])
    """
    found = anchors.new_empty(len(anchors), len(references))
    is_low = has_low_product(anchors, references)
    narrow = anchors.to(references.dtype) if is_low else anchors
    for columns in _blocks(references):
        block, part = references[columns], found[:, columns]
        if is_low:
            rounded = torch.mm(narrow, block.T)
            part.copy_(rounded)
            if is_close:
                # What rounding took away: sums run in float32 inside, so the small rest keeps its digits.
                part.add_(torch.addmm(rounded, narrow, block.T, beta=-1))
        else:
            torch.mm(narrow, block.to(narrow.dtype).T, out=part)
        if scales is not None:
            part.mul_(scales[columns])
    return found


def weighted_sums(weights: Tensor, references: Tensor) -> Tensor:
    """Return the (B, d) sums of the references with (B, M) weights, a block of references at a time.

    Examples
    --------
    >>> weighted_sums(torch.tensor([[1.0, -2.0]]), torch.eye(2))
    tensor([[ 1., -2.]])
    """
    sums = weights.new_zeros(len(weights), references.shape[1])
    is_low = has_low_product(weights, references)
    for columns in _blocks(references):
        block, part = references[columns], weights[:, columns]
        if is_low:
            sums.add_(part.to(block.dtype) @ block)
        else:
            sums.addmm_(part, block.to(weights.dtype))
    return sums


def has_low_product(anchors: Tensor, references: Tensor) -> bool:
    """Say whether products run in bfloat16: float32 against bfloat16, on a device with units for it."""
    if references.dtype != torch.bfloat16 or anchors.dtype != torch.float32:
        return False
    if anchors.device.type != "cpu":
        return anchors.device.type == "cuda"
    # Elsewhere bfloat16 is emulated, slower than float32.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return ask is not None and bool(ask())


def _blocks(references: Tensor) -> Iterator[slice]:
    return _pieces(len(references), max(1, BLOCK_BYTES // max(1, references[0].nbytes)))


def _pieces(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(length, start + step))
