"""Golden cases of CBML."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.losses.cbml import CBMLLoss


def _cbml(inputs: Case, params: Case) -> Outputs:
    embeddings = torch.tensor(inputs["embeddings"], dtype=torch.float64, requires_grad=True)
    loss = CBMLLoss(
        growth=params["type"],
        positive_center=params["pos_a"],
        positive_scale=params["pos_b"],
        negative_center=params["neg_a"],
        negative_scale=params["neg_b"],
        margin=params["margin"],
        variance_weight=params["weight"],
        reference=params["hyper_weight"],
        positive_share=params["weight_p"],
        negative_share=params["weight_n"],
        normalize="none",
        n_hardest=None if params["adaptive_neg"] else 100,
    )(embeddings, torch.tensor(inputs["labels"]))
    loss.backward()
    return {"loss": loss, "grad_embeddings": embeddings.grad}


GOLDEN: dict[str, Golden] = {
    "cbml_loss": Golden(
        ("tamis.losses.cbml.CBMLLoss", "tamis.losses.cbml.cbml_terms"),
        _cbml,
    ),
}
