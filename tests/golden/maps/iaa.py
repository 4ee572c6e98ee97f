"""Golden cases of IAA: moments of classes, what small classes borrow, copies, losses, schedule."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs
from torch import Tensor, nn

from tamis.losses.iaa import IntraClassAugmentationLoss
from tamis.losses.iaa_contrastive import MarginContrastiveLoss
from tamis.losses.iaa_multi_similarity import MinedMultiSimilarityLoss
from tamis.losses.iaa_synthesis import synthesize
from tamis.memory.class_variances import ClassVariances
from tamis.statistics.class_moments import ClassMoments
from tamis.statistics.neighbor_variances import NeighborCorrection, corrected_variances
from tamis.statistics.schedules import synthesis_strength


def _doubles(value: object) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _class_variances(params: Case, n_features: int) -> ClassVariances:
    return ClassVariances(params["num_classes"], n_features, momentum=params["momentum"], dtype=torch.float64)


def _variance_update(inputs: Case, params: Case) -> Outputs:
    found = _class_variances(params, len(inputs["features_per_round"][0][0]))
    states = []
    for features, labels in zip(inputs["features_per_round"], inputs["labels_per_round"], strict=True):
        found.update([(_doubles(features), torch.tensor(labels))])
        state = {"mean": found.means, "variance": found.variances, "count": found.counts}
        states.append({name: value.clone() for name, value in state.items()})
    return {"state_per_round": states}


def _neighbor_correction(inputs: Case, params: Case) -> Outputs:
    features = _doubles(inputs["features"])
    found = _class_variances(params, features.shape[1])
    found.update([(features, torch.tensor(inputs["labels"]))])
    # The authors' pass over the classes leaves the mean of a class of one row at zero, and the expected
    # values follow it; the paper's mean, and ours, is that row.
    means = found.means.where(found.counts[:, None] > 1, 0.0)
    moments = ClassMoments(means, found.variances, found.counts)
    correction = NeighborCorrection(
        n_neighbors=params["num_neighbors_K"],
        beta=params["beta"],
        gamma=params["gamma"],
        tau=params["tau"],
        sigma_mean=params["sigma_m"],
        sigma_variance=params["sigma_cv"],
    )
    result = corrected_variances(moments, correction)
    return {
        "class_weight_alpha": result.alpha,
        "mean": moments.means,
        "variance": moments.variances,
        "global_variance": result.overall,
        "neighbor_indices_by_distance": result.neighbors,
        "paper_neighbor_variance": result.borrowed,
        "paper_corrected_variance": result.corrected,
    }


def _synthesis(inputs: Case, params: Case) -> Outputs:
    features = _doubles(inputs["features"])
    noise = _doubles(inputs["standard_normal_noise_per_copy"]).reshape(-1, *features.shape)
    assert len(noise) == params["num_copies_M"]
    variances = _doubles(inputs["class_variance"])
    copies = synthesize(features, torch.tensor(inputs["labels"]), variances, noise, params["lambda"])
    return {"paper_synthetic": copies.embeddings, "synthetic_labels": copies.labels}


def _augmented(loss: nn.Module, inputs: Case, params: Case) -> Outputs:
    n_rows = params["batch_size"]
    embeddings = _doubles(inputs["embeddings_original_then_copies"]).requires_grad_()
    labels = torch.tensor(inputs["labels"])
    value = IntraClassAugmentationLoss(loss, normalize_embeddings=False)(
        embeddings[:n_rows], labels[:n_rows], ref_emb=embeddings[n_rows:], ref_labels=labels[n_rows:]
    )
    value.backward()
    return {"loss": value, "grad_embeddings": embeddings.grad}


def _multi_similarity(inputs: Case, params: Case) -> Outputs:
    assert params["positive_epsilon"] == 1e-5
    loss = MinedMultiSimilarityLoss(
        alpha=params["alpha"],
        beta=params["beta"],
        base=params["base"],
        epsilon=params["margin"],
        normalize="none",
    )
    return _augmented(loss, inputs, params)


def _contrastive(inputs: Case, params: Case) -> Outputs:
    loss = MarginContrastiveLoss(
        positive_margin=params["pos_margin"], negative_margin=params["neg_margin"], normalize="none"
    )
    return _augmented(loss, inputs, params)


def _schedule(inputs: Case, params: Case) -> Outputs:
    epochs, strength = params["epochs"], params["lambda"]
    return {"lambda_effective": [synthesis_strength(epoch, epochs, strength) for epoch in inputs["epoch"]]}


_LOSS = "tamis.losses.iaa.IntraClassAugmentationLoss"

GOLDEN: dict[str, Golden] = {
    "iaa_variance_update": Golden(
        (
            "tamis.statistics.class_moments.class_moments",
            "tamis.statistics.class_moments.merged_moments",
            "tamis.memory.class_variances.ClassVariances",
        ),
        _variance_update,
    ),
    "iaa_neighbor_correction": Golden(
        (
            "tamis.statistics.neighbor_variances.borrowing_share",
            "tamis.statistics.neighbor_variances.corrected_variances",
        ),
        _neighbor_correction,
    ),
    "iaa_synthesis": Golden(("tamis.losses.iaa_synthesis.synthesize",), _synthesis),
    "iaa_ms_loss": Golden(
        (_LOSS, "tamis.losses.iaa_multi_similarity.MinedMultiSimilarityLoss"), _multi_similarity
    ),
    "iaa_contrastive_loss": Golden(
        (_LOSS, "tamis.losses.iaa_contrastive.MarginContrastiveLoss"), _contrastive
    ),
    "iaa_lambda_schedule": Golden(("tamis.statistics.schedules.synthesis_strength",), _schedule),
}
