"""Encoders and projectors of TLDR, named by a short text such as ``mlp-1-2048``."""

from __future__ import annotations

import re

from torch import nn

from tamis.backbones import initialise
from tamis.backbones.initialisation import without_draws
from tamis.errors import InputError

_FORM = re.compile(r"(flinear|mlp)-([1-9]\d*)-([1-9]\d*)")


def build_encoder(form: str, n_inputs: int, n_outputs: int, *, seed: int = 0) -> nn.Sequential:
    """Return a network from (n, n_inputs) to (n, n_outputs).

    Parameters
    ----------
    form : str
        ``"linear"``: one linear map. ``"flinear-L-W"``: L linear maps to width W, each with batch
        normalisation, then one to the outputs; linear as a whole, easier to train. ``"mlp-L-W"``: L hidden
        layers of width W with batch normalisation and rectifier, then a linear map, all without bias.
    n_inputs, n_outputs : int
    seed : int
        First weights are a pure function of it.

    Raises
    ------
    InputError
        ``form`` has another form.

    Examples
    --------
    >>> [type(layer).__name__ for layer in build_encoder("mlp-1-8", 5, 2)]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    kind, n_layers, width = _parsed(form, "encoder")
    with without_draws():
        layers: list[nn.Module] = []
        for number in range(n_layers):
            layers.append(nn.Linear(n_inputs if number == 0 else width, width, bias=kind == "flinear"))
            layers.append(nn.BatchNorm1d(width))
            if kind == "mlp":
                layers.append(nn.ReLU())
        layers.append(nn.Linear(width if n_layers else n_inputs, n_outputs, bias=kind != "mlp"))
        network = nn.Sequential(*layers)
    initialise(network, seed)
    return network


def build_projector(form: str, n_inputs: int, *, seed: int = 0) -> nn.Sequential:
    """Return the network between encoder and loss: ``"mlp-L-W"`` has L hidden layers and outputs of width W.

    Parameters
    ----------
    form : str
        ``"mlp-L-W"``, or ``"none"``: the loss sees the encoder's own outputs.
    n_inputs : int
    seed : int

    Raises
    ------
    InputError
        ``form`` has another form.

    Examples
    --------
    >>> sum(isinstance(layer, nn.Linear) for layer in build_projector("mlp-2-16", 4))
    3
    """
    if form == "none":
        return nn.Sequential()
    kind, _, width = _parsed(form, "projector")
    if kind != "mlp":
        raise InputError(
            f"projector is {form!r}; expected 'mlp-LAYERS-WIDTH', such as 'mlp-2-2048', or 'none'"
        )
    # A seed of its own: layers are drawn by seed and name, and encoder and projector share names.
    return build_encoder(form, n_inputs, width, seed=seed + 1)


def _parsed(form: str, name: str) -> tuple[str, int, int]:
    if form == "linear":
        return "linear", 0, 0
    match = _FORM.fullmatch(form) if isinstance(form, str) else None
    if match is None:
        raise InputError(
            f"{name} is {form!r}; expected 'linear', 'flinear-LAYERS-WIDTH' or 'mlp-LAYERS-WIDTH', such as "
            "'mlp-1-2048'"
        )
    return match[1], int(match[2]), int(match[3])
