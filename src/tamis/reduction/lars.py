"""LARS: a step of gradient descent whose length is a share of each layer's own length."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tamis.errors import InputError


class LARS(torch.optim.Optimizer):
    """Momentum descent with a rate for each weight matrix: in proportion to the matrix over its gradient.

    For a parameter p with gradient g: ``g += weight_decay p``; ``g *= trust |p| / |g|`` (as it is where
    either is 0); ``m = momentum m + g``; ``p -= lr m``. Vectors, such as biases and the parameters of norms,
    get neither weight decay nor the rescaling. For large batches, where one rate does not fit all layers.

    Parameters
    ----------
    params : iterable of nn.Parameter
    lr : float, default=0.2
    weight_decay : float, default=1e-6
    momentum : float in [0, 1), default=0.9
    trust : float, above 0, default=0.001

    Raises
    ------
    InputError
        A parameter out of its range.

    References
    ----------
    .. [1] Y. You, I. Gitman, B. Ginsburg. "Large Batch Training of Convolutional Networks", arXiv 1708.03888.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> optimizer = LARS([weight], lr=1.0, weight_decay=0.0, trust=0.1)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.data  # moved by a tenth of its length 5
    tensor([[2.6464, 3.6464]])
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.2,
        *,
        weight_decay: float = 1e-6,
        momentum: float = 0.9,
        trust: float = 1e-3,
    ) -> None:
        if not (lr >= 0 and weight_decay >= 0 and 0 <= momentum < 1 and trust > 0):
            raise InputError(
                f"lr is {lr}, weight_decay {weight_decay}, momentum {momentum}, trust {trust}; expected lr "
                "and weight_decay of at least 0, momentum from 0 to below 1, trust above 0"
            )
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "trust": trust}
        super().__init__(params, defaults)

    # An override of a method with overloads: what they have in common.
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; ``closure`` is not supported."""
        if closure is not None:
            raise InputError("LARS.step was given a closure; call backward() first, then step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                update = state["momentum"].mul_(group["momentum"]).add_(_direction(parameter, group))
                parameter.add_(update, alpha=-group["lr"])


def _direction(parameter: Tensor, group: dict[str, float]) -> Tensor:
    """Return the gradient of a parameter as LARS takes it."""
    gradient = parameter.grad
    assert gradient is not None
    if parameter.ndim < 2:
        return gradient
    gradient = gradient + group["weight_decay"] * parameter
    length, slope = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(gradient)
    # No branch on values: the device need not wait.
    ratio = torch.where((length > 0) & (slope > 0), group["trust"] * length / slope, 1.0)
    return gradient * ratio
