"""Checks of a batch of embeddings, with or without labels, and the precision its arithmetic runs in."""

from __future__ import annotations

from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32, can_read_values


def finite_embeddings(embeddings: Tensor, name: str = "embeddings") -> Tensor:
    """Return embeddings in at least float32, after a look at their type, shape and values.

    Values are asked of the device, one wait a call; a compiled or captured graph leaves that question out.

    Parameters
    ----------
    embeddings : (B, d) float tensor
        Of any length; none of them, B = 0, is legal.
    name : str
        What messages call them.

    Raises
    ------
    InputError
        No matrix of floats, or a row with NaN or infinity.

    Examples
    --------
    >>> import torch
    >>> finite_embeddings(torch.tensor([[1.0, 0.0], [torch.nan, 0.0]]))
    Traceback (most recent call last):
    ...
    tamis.errors.InputError: embeddings row 1 holds NaN or infinity; expected finite numbers. ...
    """
    if not isinstance(embeddings, Tensor) or not embeddings.is_floating_point():
        kind = embeddings.dtype if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise InputError(f"{name} is {kind}; expected a floating-point tensor of shape (B, d)")
    if embeddings.ndim != 2 or embeddings.shape[1] < 1:
        raise InputError(
            f"{name} has shape {tuple(embeddings.shape)}; expected (B, d), a row for every sample: flatten "
            "or pool what is no row"
        )
    if can_read_values():
        is_bad = ~embeddings.detach().isfinite().all(dim=1)
        if is_bad.any():
            raise InputError(
                f"{name} row {int(is_bad.nonzero()[0, 0])} holds NaN or infinity; expected finite numbers. "
                "The network has diverged or its input is damaged: lower the learning rate, clip the "
                "gradient, or leave such rows out"
            )
    return at_least_float32(embeddings)


def labelled_embeddings(
    embeddings: Tensor, labels: Tensor | None, n_classes: int | None = None, *, prefix: str = ""
) -> tuple[Tensor, Tensor]:
    """Return embeddings in at least float32 and labels in int64, on one device, after checking both.

    Parameters
    ----------
    embeddings : (B, d) float tensor
    labels : (B,) integer tensor
        Class codes from 0.
    n_classes : int, optional
        Codes end before it; any code is legal without.
    prefix : str
        Before the words *embeddings* (or *emb*) and *labels* in messages, such as ``"ref_"``.

    Raises
    ------
    InputError
        Wrong types or shapes, a row with NaN or infinity, or a label that is no class.

    Examples
    --------
    >>> import torch
    >>> labelled_embeddings(torch.ones(2, 3), torch.tensor([0, -1]))
    Traceback (most recent call last):
    ...
    tamis.errors.InputError: labels row 1 is -1; expected a class code of at least 0. ...
    """
    rows = finite_embeddings(embeddings, f"{prefix}emb" if prefix else "embeddings")
    name = f"{prefix}labels"
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"{name} is {kind}; expected an integer tensor of shape (B,)")
    if labels.shape != rows.shape[:1]:
        raise InputError(
            f"{name} has shape {tuple(labels.shape)}; expected ({len(rows)},), one for every embedding"
        )
    codes = labels.to(device=rows.device).long()
    if can_read_values():
        is_wrong = codes < 0
        if n_classes is not None:
            is_wrong = is_wrong | (codes >= n_classes)
        if is_wrong.any():
            row = int(is_wrong.nonzero()[0, 0])
            legal = "of at least 0" if n_classes is None else f"from 0 to {n_classes - 1}"
            raise InputError(
                f"{name} row {row} is {int(codes[row])}; expected a class code {legal}. Leave unlabelled "
                "rows (-1) out of the batch"
            )
    return rows, codes
