"""Co-guessing of DivideMix: targets for samples whose label is not believed, from both networks."""

from __future__ import annotations

from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import checked_logits
from tamis.targets.sharpen import sharpen


def co_guess(
    probs11: Tensor, probs12: Tensor, probs21: Tensor, probs22: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """Return the sharpened mean of four predictions: two networks on two augmentations.

    Parameters
    ----------
    probs11, probs12, probs21, probs22 : (B, K) float, rows sum to 1
        ``probs12`` is network 1 on augmentation 2; which is which has no part in the result.
    temperature : float, default=0.5
        Of `sharpen`; at 1 the mean comes out as it is.

    Returns
    -------
    (B, K) float, rows sum to 1, without gradient

    Raises
    ------
    InputError
        The four shapes differ.

    References
    ----------
    .. [1] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020,
       section 3.2.

    Examples
    --------
    >>> import torch
    >>> sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    >>> co_guess(sure, unsure, unsure, unsure, temperature=1.0)
    tensor([[0.6250, 0.3750]])
    """
    given = {"probs11": probs11, "probs12": probs12, "probs21": probs21, "probs22": probs22}
    four = [checked_logits(values, name).detach() for name, values in given.items()]
    shapes = {name: tuple(values.shape) for name, values in given.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"the four predictions have shapes {shapes}; expected one shape (samples, classes)")
    # Sums of pairs, so that swapping networks or views does not change a bit.
    mean = ((four[0] + four[3]) + (four[1] + four[2])) / 4
    return sharpen(mean, temperature)
