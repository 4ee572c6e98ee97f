"""Golden cases of crowd labels."""

from __future__ import annotations

import numpy as np
from golden_case import Case, Golden, Outputs

from tamis.crowd.answers import Answers
from tamis.crowd.consensus import Consensus, majority_consensus, vote_agreement
from tamis.crowd.crowdlab import crowdlab
from tamis.crowd.dawid_skene import dawid_skene
from tamis.crowd.majority import vote_shares
from tamis.crowd.one_coin import one_coin


def _dawid_skene(inputs: Case, params: Case) -> Outputs:
    task, worker, label = np.array(inputs["answers"]).T
    answers = Answers.from_arrays(
        task,
        worker,
        label,
        tasks=range(params["n_tasks"]),
        workers=range(params["n_workers"]),
        classes=range(params["n_classes"]),
    )
    settings = {"n_iter": params["n_iter"], "tol": params["tol"], "compat": True}
    found = dawid_skene(answers, gold=dict(enumerate(inputs.get("gold_labels", []))), **settings)
    coin = one_coin(answers, **settings)
    return {
        "majority_vote_probas": vote_shares(answers),
        "probas": found.posteriors,
        "priors": found.prior,
        "errors": found.error_tensor(),
        "labels": found.labels,
        "n_iterations": found.n_iter,
        "loss_history": found.history,
        "one_coin_probas": coin.posteriors,
        "one_coin_skills": coin.worker_quality,
    }


def _consensus(answers: Answers, found: Consensus) -> Outputs:
    quality = np.full((answers.n_tasks, answers.n_workers), np.nan)
    quality[answers.task, answers.worker] = found.answer_quality
    return {
        "consensus_label": found.labels,
        "consensus_quality_score": found.quality,
        "annotator_agreement": found.agreement,
        "detailed_label_quality": quality,
        "annotator_quality": found.worker_quality,
        "model_weight": found.model_weight,
        "annotator_weight": found.worker_weight,
    }


def _crowdlab(inputs: Case, params: Case) -> Outputs:
    probs = np.array(inputs["pred_probs"])
    answers = Answers.from_matrix(np.array(inputs["labels"], dtype=object), classes=range(probs.shape[1]))
    return {
        "crowdlab": _consensus(
            answers, crowdlab(answers, probs, calibrate=params.get("calibrate_probs", False), compat=True)
        ),
        "agreement": _consensus(answers, vote_agreement(answers, probs, compat=True)),
        "majority_vote_with_model_tiebreak": majority_consensus(answers, probs),
    }


GOLDEN: dict[str, Golden] = {
    "crowd_dawid_skene": Golden(
        (
            "tamis.crowd.dawid_skene.dawid_skene",
            "tamis.crowd.one_coin.one_coin",
            "tamis.crowd.majority.vote_shares",
        ),
        _dawid_skene,
    ),
    "crowd_crowdlab": Golden(
        (
            "tamis.crowd.crowdlab.crowdlab",
            "tamis.crowd.consensus.vote_agreement",
            "tamis.crowd.consensus.majority_consensus",
        ),
        _crowdlab,
    ),
}
