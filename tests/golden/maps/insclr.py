"""Golden cases of InsCLR: contrastive loss, walk, pseudo labels of the memory."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.losses.thresholded_contrastive import thresholded_contrastive
from tamis.statistics.candidate_pool import candidate_pool
from tamis.statistics.mined_labels import mine_labels
from tamis.statistics.traversal import select_positives


def _float(value: object) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _contrastive(inputs: Case, params: Case) -> Outputs:
    features = _float(inputs["features"]).requires_grad_()
    is_memory = params["mode"] == "memory"
    loss = thresholded_contrastive(
        features,
        torch.tensor(inputs["labels"]),
        _float(inputs["memory_features"]) if is_memory else None,
        torch.tensor(inputs["memory_labels"]) if is_memory else None,
        margin=params["margin"],
        positive_margin=params["pos_margin"],
        eps=params["positive_epsilon"],
    )
    loss.backward()
    return {"loss": loss, "grad_features": features.grad}


def _select(inputs: Case, params: Case) -> Outputs:
    is_selected, _ = select_positives(
        _float(inputs["batch_positive_features"]),
        _float(inputs["candidate_features"]),
        _float(inputs["init_positive_features"]),
        _float(inputs["init_anchor_positive_features"]),
        mode=params["mode"],
    )
    return {
        "selected_positive_indices": is_selected.nonzero()[:, 0],
        "remaining_indices": (~is_selected).nonzero()[:, 0],
    }


def _memory_labels(inputs: Case, params: Case) -> Outputs:
    features = _float(inputs["features"])
    pool = candidate_pool(
        torch.tensor(inputs["neighbor_indices"]),
        _float(inputs["neighbor_similarities"]),
        positive_threshold=params["positive_threshold"],
        negative_threshold=params["negative_threshold"],
    )
    found = mine_labels(
        pool,
        features,
        torch.ones(len(features), dtype=torch.bool),
        torch.tensor(inputs["batch_indices"]),
        torch.tensor(inputs["batch_labels"]),
        mode=params["mode"],
        use_negatives=params["use_negative"],
        size=params["get_size"],
    )
    return {
        "memory_index_label_pairs_sorted": torch.stack((found.index, found.labels), dim=1),
        "positive_boundary": pool.positive_boundary,
        "negative_boundary": pool.negative_boundary,
    }


GOLDEN: dict[str, Golden] = {
    "insclr_contrastive": Golden(
        ("tamis.losses.thresholded_contrastive.thresholded_contrastive",), _contrastive
    ),
    "insclr_select": Golden(("tamis.statistics.traversal.select_positives",), _select),
    "insclr_memory_labels": Golden(
        (
            "tamis.statistics.candidate_pool.pool_boundary",
            "tamis.statistics.candidate_pool.candidate_pool",
            "tamis.statistics.mined_labels.mine_labels",
        ),
        _memory_labels,
    ),
}
