"""Golden cases of the losses over pairs of embeddings."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.losses import ContrastiveLoss


def _contrastive(inputs: Case, params: Case) -> Outputs:
    embeddings = torch.tensor(inputs["embeddings"], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(inputs["labels"])
    references: dict[str, torch.Tensor] = {}
    if "memory_features" in inputs:
        references["ref_emb"] = torch.tensor(inputs["memory_features"], dtype=torch.float64)
        references["ref_labels"] = torch.tensor(inputs["memory_labels"])
    # The authors' code takes dot products of rows that the network has brought to unit length.
    loss = ContrastiveLoss(params["margin"], normalize="none")(embeddings, labels, **references)
    loss.backward()
    return {"loss": loss, "grad_embeddings": embeddings.grad}


GOLDEN: dict[str, Golden] = {
    "prism_contrastive": Golden(("tamis.losses.contrastive.ContrastiveLoss",), _contrastive),
}
