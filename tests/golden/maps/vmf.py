"""Golden cases of the von Mises-Fisher distribution and the similarity built on it."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.statistics.class_sums import ClassSums
from tamis.statistics.vmf_similarity import (
    ConcentrationRule,
    vmf_classes,
    vmf_log_posterior,
    vmf_posterior,
)
from tamis.statistics.von_mises_fisher import log_normaliser


def _log_normaliser(inputs: Case, params: Case) -> Outputs:
    kappa = torch.tensor(inputs["kappa"], dtype=torch.float64)
    return {"log_C": torch.stack([log_normaliser(kappa, dimension) for dimension in inputs["dimension"]])}


def _vmf_sim(inputs: Case, params: Case) -> Outputs:
    embeddings = torch.tensor(inputs["embeddings"], dtype=torch.float64)
    memory = torch.tensor(inputs["memory_features"], dtype=torch.float64)
    sums = ClassSums(params["num_classes"], memory.shape[1]).partial_fit(memory, inputs["memory_labels"])
    rule = ConcentrationRule(kappa_min=params["kappa_min"], kappa_max=params["kappa_max"])
    classes = vmf_classes(sums, rule)
    return {
        "mean_resultant_length": classes.resultant_lengths,
        "mean_direction": classes.directions,
        "kappa": classes.kappa,
        "log_p_clean": vmf_posterior(embeddings, inputs["labels"], classes).log_given,
        "log_posterior": vmf_log_posterior(embeddings, classes),
    }


GOLDEN: dict[str, Golden] = {
    "vmf_log_normaliser": Golden(
        ("tamis.statistics.von_mises_fisher.log_normaliser",),
        _log_normaliser,
    ),
    "vmf_sim": Golden(
        (
            "tamis.statistics.von_mises_fisher.concentration",
            "tamis.statistics.vmf_similarity.vmf_classes",
            "tamis.statistics.vmf_similarity.vmf_log_posterior",
            "tamis.statistics.vmf_similarity.vmf_posterior",
        ),
        _vmf_sim,
    ),
}
