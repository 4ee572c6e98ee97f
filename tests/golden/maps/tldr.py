"""Golden cases of TLDR: Barlow Twins loss and learning rate."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.losses.barlow_twins import barlow_twins_loss, cross_correlation
from tamis.statistics.warmup_cosine import warmup_cosine_rate


def _barlow(inputs: Case, params: Case) -> Outputs:
    first = torch.tensor(inputs["z1"], dtype=torch.float64, requires_grad=True)
    second = torch.tensor(inputs["z2"], dtype=torch.float64)
    parameters = {"eps": params["bn_eps"], "batch_size": params["batch_size"]}
    loss = barlow_twins_loss(
        first, second, off_diagonal_weight=params["lambda"], scale=params["scale_loss"], **parameters
    )
    loss.backward()
    return {
        "loss": loss,
        "cross_correlation": cross_correlation(first, second, **parameters),
        "grad_z1": first.grad,
    }


def _schedule(inputs: Case, params: Case) -> Outputs:
    rates = [
        warmup_cosine_rate(
            step,
            n_samples=params["n_data"],
            batch_size=params["batch_size"],
            epochs=params["epochs"],
            warmup_epochs=params["warmup_epochs"],
            rate=params["learning_rate"],
        )
        for step in inputs["steps"]
    ]
    return {"lr": rates}


GOLDEN: dict[str, Golden] = {
    "tldr_barlow": Golden(
        ("tamis.losses.barlow_twins.barlow_twins_loss", "tamis.losses.barlow_twins.cross_correlation"),
        _barlow,
    ),
    "tldr_lr_schedule": Golden(("tamis.statistics.warmup_cosine.warmup_cosine_rate",), _schedule),
}
