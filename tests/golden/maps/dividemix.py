"""Golden cases of DivideMix: the split by losses, a whole training step, and the terms of its loss."""

from __future__ import annotations

import numpy as np
import torch
from golden_case import Case, Golden, Outputs

from tamis.losses.mixmatch import linear_rampup, mixmatch_losses, negative_entropy
from tamis.statistics.co_divide import co_divide
from tamis.targets.co_guess import co_guess
from tamis.targets.co_refine import co_refine
from tamis.targets.mixup import mixup


def _split(inputs: Case, params: Case) -> Outputs:
    history = np.asarray(inputs["losses_history"], dtype=np.float64)
    fit = {name: params[name] for name in ("average_last", "max_iter", "tol", "reg_covar")}
    found = co_divide(history[-1], history[:-1], threshold=params["p_threshold"], **fit)
    alone = co_divide(history[-1])
    return {
        "losses_normalised_last": alone.normalised,
        "prob_clean": found.prob_clean,
        "pred_clean": found.is_clean,
    }


def _numbers(value: object) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _ramp(params: Case) -> float:
    names = ("warm_up", "rampup_length")
    return linear_rampup(params["epoch"], weight=params["lambda_u"], **{name: params[name] for name in names})


def _terms(inputs: Case, params: Case) -> Outputs:
    parts = ("logits_x", "targets_x", "logits_u", "targets_u")
    terms = mixmatch_losses(**{name: _numbers(inputs[name]) for name in parts})
    return {
        "Lx": terms.labelled,
        "Lu": terms.unlabelled,
        "lambda_u_eff": _ramp(params),
        "neg_entropy_of_logits_x": negative_entropy(_numbers(inputs["logits_x"])),
    }


def _step(inputs: Case, params: Case) -> Outputs:
    views = {name: _numbers(inputs[name]) for name in ("x1", "x2", "u1", "u2")}
    trained, other = _numbers(inputs["W1"]).requires_grad_(), _numbers(inputs["W2"])
    probs = {name: (rows @ trained.T).softmax(dim=1) for name, rows in views.items()}
    others = [(views[name] @ other.T).softmax(dim=1) for name in ("u1", "u2")]
    refining = probs["x1"], probs["x2"], torch.tensor(inputs["labels"]), _numbers(inputs["w"])
    guessing = probs["u1"], probs["u2"], *others
    targets_x = co_refine(*refining, temperature=params["T"])
    targets_u = co_guess(*guessing, temperature=params["T"])
    targets = torch.cat([targets_x, targets_x, targets_u, targets_u])
    permutation = torch.tensor(inputs["perm"])
    mixed = mixup(torch.cat(list(views.values())), targets, params["beta_draw"], permutation)
    logits, n = mixed.inputs @ trained.T, 2 * len(targets_x)
    terms = mixmatch_losses(logits[:n], mixed.targets[:n], logits[n:], mixed.targets[n:])
    loss = terms.total(_ramp(params))
    loss.backward()
    return {
        "refined_prob": co_refine(*refining, temperature=1.0),
        "targets_x": targets_x,
        "guessed_prob": co_guess(*guessing, temperature=1.0),
        "targets_u": targets_u,
        "mixed_input": mixed.inputs,
        "mixed_target": mixed.targets,
        "logits": logits,
        "Lx": terms.labelled,
        "Lu": terms.unlabelled,
        "lambda_u_eff": _ramp(params),
        "pred_mean": logits.softmax(dim=1).mean(dim=0),
        "penalty": terms.penalty,
        "loss": loss,
        "grad_W1": trained.grad,
    }


def _run(inputs: Case, params: Case) -> Outputs:
    if "losses_history" in inputs:
        return _split(inputs, params)
    return _step(inputs, params) if "perm" in inputs else _terms(inputs, params)


GOLDEN: dict[str, Golden] = {
    "dividemix": Golden(
        (
            "tamis.statistics.co_divide.co_divide",
            "tamis.targets.co_refine.co_refine",
            "tamis.targets.co_guess.co_guess",
            "tamis.targets.mixup.mixup",
            "tamis.losses.mixmatch.mixmatch_losses",
            "tamis.losses.mixmatch.linear_rampup",
            "tamis.losses.mixmatch.negative_entropy",
        ),
        _run,
    )
}
