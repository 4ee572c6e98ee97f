"""Golden cases of HOC and SimiFeat."""

from __future__ import annotations

import numpy as np
import torch
from golden_case import Case, Golden, Outputs

from tamis.detectors.consensus_draws import consensus_counts
from tamis.detectors.simifeat import cosine_distances
from tamis.neighbors import nearest_neighbors
from tamis.statistics.clusterability import Consensus, hoc_objective, population_consensus
from tamis.statistics.simifeat import (
    cores_score,
    corrupted_shares,
    label_posterior,
    label_shares,
    mean_soft_label_score,
    peer_score,
    rank_flags,
    similarity_soft_labels,
    soft_label_score,
    vote_flags,
)
from tamis.statistics.transition_fit import fit_transition

_PEAKED_AFTER = 100
_MANY_CLASSES = 100


def _population(inputs: Case, params: Case) -> Outputs:
    return population_consensus(np.array(inputs["T"]), np.array(inputs["p"]))._asdict()


def _count(inputs: Case, params: Case) -> Outputs:
    features, labels = np.array(inputs["features"], dtype=np.float64), np.array(inputs["noisy_labels"])
    counts = consensus_counts(features, labels, params["num_classes"])
    return {"counts1": counts.singles, "counts2": counts.pairs, "counts3": counts.triples}


def _shares(inputs: Case) -> Consensus:
    return Consensus(*(torch.tensor(inputs[name], dtype=torch.float64) for name in ("c1", "c2", "c3")))


def _objective(inputs: Case, params: Case) -> Outputs:
    u = torch.tensor(inputs["T_logits"], dtype=torch.float64, requires_grad=True)
    v = torch.tensor(inputs["p_logits"], dtype=torch.float64, requires_grad=True)
    is_late = params["step"] > _PEAKED_AFTER and params["num_classes"] != _MANY_CLASSES
    is_peaked = bool(params["local"]) and is_late
    loss = hoc_objective(u, v, _shares(inputs), weights=tuple(params["weights"]), is_peaked=is_peaked)
    grad_u, grad_v = torch.autograd.grad(loss, [u, v])
    return {"loss": loss, "grad_T_logits": grad_u, "grad_p_logits": grad_v}


def _fit(inputs: Case, params: Case) -> Outputs:
    # The authors' code returns the last step at a constant rate.
    fit = fit_transition(
        *_shares(inputs),
        transition_logits=np.array(inputs["T_logits_init"]),
        prior_logits=np.array(inputs["p_logits_init"]),
        n_steps=params["max_step"],
        decay_from=1.0,
        keep="last",
    )
    return {"T": fit.transition, "p": fit.prior, "min_loss_seen": fit.loss}


def _simifeat(inputs: Case, params: Case) -> Outputs:
    features, labels = np.array(inputs["features"], dtype=np.float64), np.array(inputs["noisy_labels"])
    n_classes, k = params["num_classes"], params["k_including_self"]
    nearest = nearest_neighbors(features, k=k - 1).indices
    distances = cosine_distances(features, nearest)
    soft, soft_l1 = (
        similarity_soft_labels(
            nearest,
            distances,
            labels,
            n_classes,
            min_similarity=params["min_similarity"],
            norm=norm,
            compat=True,
        )
        for norm in ("l2", "l1")
    )
    scores = soft_label_score(soft, labels)
    posterior = label_posterior(inputs["T"], inputs["p_clean"], label_shares(labels, n_classes))
    shares = corrupted_shares(posterior.diagonal(), offset=params["Tii_offset"])
    return {
        "knn_soft_l2": soft,
        "knn_soft_l1": soft_l1,
        "score_ce": scores,
        "score_cores": cores_score(soft, labels),
        "score_peer": peer_score(soft, labels),
        "score_avg": mean_soft_label_score(soft),
        "posterior_clean_given_noisy": posterior,
        "flagged_vote": np.flatnonzero(vote_flags(soft, labels)),
        "flagged_rank": np.flatnonzero(rank_flags(scores, labels, shares)),
    }


GOLDEN: dict[str, Golden] = {
    "hoc_population_consensus": Golden(
        ("tamis.statistics.clusterability.population_consensus",), _population
    ),
    "hoc_count_consensus": Golden(("tamis.detectors.consensus_draws.consensus_counts",), _count),
    "hoc_objective": Golden(("tamis.statistics.clusterability.hoc_objective",), _objective),
    "hoc_fit": Golden(
        ("tamis.statistics.transition_fit.fit_transition",),
        _fit,
        # With exact statistics the last step of the authors' own code, run on another processor, lies up to
        # 0.009 from what it was: a difference in the last bit grows. `test_transition_fit.py` bounds it.
        pending={"*_exact_*": "a last step that can be repeated"},
        informative=("true_T", "true_p", "L11_error_percent"),
    ),
    "simifeat_detect": Golden(
        (
            "tamis.detectors.simifeat.cosine_distances",
            "tamis.statistics.simifeat.similarity_soft_labels",
            "tamis.statistics.simifeat.soft_label_score",
            "tamis.statistics.simifeat.cores_score",
            "tamis.statistics.simifeat.peer_score",
            "tamis.statistics.simifeat.mean_soft_label_score",
            "tamis.statistics.simifeat.label_posterior",
            "tamis.statistics.simifeat.label_shares",
            "tamis.statistics.simifeat.corrupted_shares",
            "tamis.statistics.simifeat.vote_flags",
            "tamis.statistics.simifeat.rank_flags",
        ),
        _simifeat,
        informative=("true_corrupted",),
    ),
}
