"""Golden cases of adaptive margins and of hyperbolic distances."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.losses.adaptive_margins import mapped_similarities
from tamis.losses.ahsml import AdaptiveHierarchicalSimilarityLoss
from tamis.statistics.hyperbolic import exp_map_origin, geodesic_distances


def _margins_and_loss(inputs: Case, params: Case) -> Outputs:
    weak = torch.tensor(inputs["embeddings_weak_view"], dtype=torch.float64)
    strong = torch.tensor(inputs["embeddings_strong_view"], dtype=torch.float64)
    labels = torch.tensor(inputs["labels"])
    loss = AdaptiveHierarchicalSimilarityLoss(
        gamma=params["gamma"],
        map_range=tuple(params["map_range"]),
        rho=params["rho_augmented"],
        beta=params["beta_positive"],
        sigma=params["sigma_negative"],
        reduction="none",
    )
    margins = loss.margins(weak, labels, int(labels.max()) + 1)
    losses = loss(weak, labels, strong_embeddings=strong, margins=margins)
    torch.testing.assert_close(loss(weak, labels, strong_embeddings=strong), losses)
    return {
        "class_similarity_S": margins.class_similarity,
        "mapped_similarity": mapped_similarities(margins.class_similarity, tuple(params["map_range"])),
        "augmented_margin_per_class": margins.augmented,
        "loss_per_anchor": losses,
        "loss": losses.mean(),
    }


def _hyperbolic(inputs: Case, params: Case) -> Outputs:
    points = exp_map_origin(torch.tensor(inputs["x"], dtype=torch.float64), params["curvature"])
    return {
        "exp_map_origin": points,
        "geodesic_distance": geodesic_distances(points, points, params["curvature"]),
    }


GOLDEN: dict[str, Golden] = {
    "ahsml_margins_and_loss": Golden(
        (
            "tamis.losses.adaptive_margins.mapped_similarities",
            "tamis.losses.adaptive_margins.adaptive_margins",
            "tamis.losses.ahsml.AdaptiveHierarchicalSimilarityLoss",
        ),
        _margins_and_loss,
    ),
    "ahsml_hyperbolic": Golden(
        ("tamis.statistics.hyperbolic.exp_map_origin", "tamis.statistics.hyperbolic.geodesic_distances"),
        _hyperbolic,
    ),
}
