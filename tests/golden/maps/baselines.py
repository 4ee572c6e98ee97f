"""Golden cases of the training baselines: robust losses and selection by small loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from golden_case import Case, Golden, Outputs
from torch import Tensor

from tamis.losses import (
    EarlyLearningLoss,
    EarlyLearningPlusLoss,
    SelfAdaptiveLoss,
    TruncatedCrossEntropy,
    co_teaching_losses,
    generalized_cross_entropy,
    joint_training_loss,
    symmetric_cross_entropy,
)
from tamis.selectors import small_loss_selection
from tamis.statistics.schedules import drop_rate, exponential_ramp


def _floats(values: object, *, grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def _pure_share(inputs: Case, selected: Tensor) -> Tensor:
    return _floats(inputs["is_clean"])[selected].mean()


def _co_teaching(inputs: Case, params: Case) -> Outputs:
    rate = params["forget_rate"]
    if "n_epoch" in params:
        rest = (rate, params["num_gradual"], params["exponent"])
        return {"rate_schedule": [drop_rate(epoch, *rest) for epoch in range(params["n_epoch"])]}
    logits1, logits2 = _floats(inputs["logits1"], grad=True), _floats(inputs["logits2"], grad=True)
    labels = torch.tensor(inputs["labels"])
    losses = co_teaching_losses(logits1, logits2, labels, rate)
    assert torch.equal(small_loss_selection(logits1, labels, rate).keep.nonzero()[:, 0], losses.selected1)
    gradient1, gradient2 = torch.autograd.grad(losses.loss1 + losses.loss2, (logits1, logits2))
    n = len(losses.selected1)
    return {
        # The authors divide the mean by the number of samples again.
        "loss1_official": losses.loss1 / n,
        "loss2_official": losses.loss2 / n,
        "loss1_mean": losses.loss1,
        "loss2_mean": losses.loss2,
        "index_small_loss_net1": losses.selected1,
        "index_small_loss_net2": losses.selected2,
        "pure_ratio_1": _pure_share(inputs, losses.selected1),
        "pure_ratio_2": _pure_share(inputs, losses.selected2),
        "grad_logits1_of_mean": gradient1,
        "grad_logits2_of_mean": gradient2,
    }


def _jocor(inputs: Case, params: Case) -> Outputs:
    logits1, logits2 = _floats(inputs["logits1"], grad=True), _floats(inputs["logits2"], grad=True)
    labels, lam = torch.tensor(inputs["labels"]), params["co_lambda"]
    joint = joint_training_loss(logits1, logits2, labels, params["forget_rate"], co_lambda=lam)
    gradient1, gradient2 = torch.autograd.grad(joint.loss, (logits1, logits2))
    return {
        "loss": joint.loss,
        "per_sample": joint.losses,
        "selected_index": joint.selected,
        "pure_ratio": _pure_share(inputs, joint.selected),
        "grad_logits1": gradient1,
        "grad_logits2": gradient2,
    }


def _calls(
    loss: EarlyLearningLoss | SelfAdaptiveLoss,
    inputs: Case,
    before: Callable[[int], object] = lambda call: None,
) -> tuple[list[float], Tensor]:
    """Return losses and gradients of consecutive batches."""
    labels, values, gradients = torch.tensor(inputs["labels"]), [], []
    for call, (rows, batch) in enumerate(zip(inputs["index"], inputs["logits"], strict=True)):
        before(call)
        logits, index = _floats(batch, grad=True), torch.tensor(rows)
        value = loss(logits, labels[index], index)
        gradients += torch.autograd.grad(value, logits)
        values.append(value.item())
    return values, torch.stack(gradients)


def _elr(inputs: Case, params: Case) -> Outputs:
    loss = EarlyLearningLoss(
        inputs["num_examples"],
        len(inputs["logits"][0][0]),
        beta=params["beta"],
        lam=params["lambda"],
        clamp=params["clamp"],
        dtype=torch.float64,
    )
    values, gradients = _calls(loss, inputs)
    return {"loss": values, "grad_logits": gradients, "target_after": loss.targets}


def _elr_plus(inputs: Case, params: Case) -> Outputs:
    before = _floats(inputs["pred_hist_before"])
    loss = EarlyLearningPlusLoss(
        *before.shape,
        beta=params["beta"],
        lam=params["lambda"],
        ramp_length=params["coef_step"],
        reweight_targets=params["num_classes"] == 100,
        dtype=torch.float64,
    )
    loss.targets.copy_(before)
    index = torch.tensor(inputs["index"])
    mixing = {"partner": torch.tensor(inputs["mix_index"]), "mix_weight": params["mixup_l"]}
    loss.update(_floats(inputs["logits_ema_other_net"]), index)
    logits, step = _floats(inputs["logits_mixed"], grad=True), params["iteration"]
    value = loss(logits, _floats(inputs["mixed_target"]), index, **mixing, step=step)
    (gradient,) = torch.autograd.grad(value, logits)
    return {
        "loss": value,
        "grad_logits": gradient,
        "pred_hist_after": loss.targets,
        "q": loss.mixed_history(index, **mixing),
        "rampup": exponential_ramp(step, params["coef_step"]),
    }


def _sat(inputs: Case, params: Case) -> Outputs:
    loss = SelfAdaptiveLoss(
        torch.tensor(inputs["labels"]),
        len(inputs["logits"][0][0]),
        momentum=params["momentum"],
        start_epoch=params["es"],
        dtype=torch.float64,
    )
    epochs = inputs["epoch"]
    values, gradients = _calls(loss, inputs, lambda call: loss.set_epoch(epochs[call]))
    return {"loss": values, "grad_logits": gradients, "soft_labels_after": loss.targets}


def _gce(inputs: Case, params: Case) -> Outputs:
    logits, labels = _floats(inputs["logits"], grad=True), torch.tensor(inputs["labels"])
    value = generalized_cross_entropy(logits, labels, params["q"])
    (gradient,) = torch.autograd.grad(value, logits)
    return {
        "per_sample": generalized_cross_entropy(logits, labels, params["q"], reduction="none"),
        "loss_mean": value,
        "grad_logits": gradient,
    }


def _gce_truncated(inputs: Case, params: Case) -> Outputs:
    logits, labels = _floats(inputs["logits"]), torch.tensor(inputs["labels"])
    index = torch.arange(len(labels))
    loss = TruncatedCrossEntropy(len(labels), q=params["q"], k=params["k"])
    first = loss(logits, labels, index)
    loss.refresh(logits, labels, index)
    return {
        "loss_all_weights_1": first,
        "weights_after_update": loss.weights,
        "loss_after_update": loss(logits, labels, index),
    }


def _sce(inputs: Case, params: Case) -> Outputs:
    logits, labels = _floats(inputs["logits"], grad=True), torch.tensor(inputs["labels"])
    value = symmetric_cross_entropy(logits, labels, **params)
    (gradient,) = torch.autograd.grad(value, logits)
    return {"loss": value, "grad_logits": gradient}


_RUNNERS = {
    "coteaching": _co_teaching,
    "jocor": _jocor,
    "elr": _elr,
    "elr_plus": _elr_plus,
    "sat": _sat,
    "gce": _gce,
    "gce_truncated": _gce_truncated,
    "sce": _sce,
}


def _baseline(inputs: Case, params: Case) -> Outputs:
    return _RUNNERS[_method(inputs, params)](inputs, params)


def _method(inputs: Case, params: Case) -> str:
    """Tell the method by its parameters, which no two of the file share."""
    for names, method in (
        ({"co_lambda"}, "jocor"),
        ({"coef_step"}, "elr_plus"),
        ({"lambda"}, "elr"),
        ({"es"}, "sat"),
        ({"alpha"}, "sce"),
        ({"q", "k"}, "gce_truncated"),
        ({"q"}, "gce"),
        ({"forget_rate"}, "coteaching"),
    ):
        if names <= params.keys():
            return method
    raise AssertionError(f"no method has the parameters {sorted(params)}")


GOLDEN: dict[str, Golden] = {
    "baselines": Golden(
        (
            "tamis.losses.co_teaching_losses",
            "tamis.losses.joint_training_loss",
            "tamis.losses.EarlyLearningLoss",
            "tamis.losses.EarlyLearningPlusLoss",
            "tamis.losses.SelfAdaptiveLoss",
            "tamis.losses.generalized_cross_entropy",
            "tamis.losses.TruncatedCrossEntropy",
            "tamis.losses.symmetric_cross_entropy",
            "tamis.selectors.small_loss_selection",
            "tamis.statistics.schedules.drop_rate",
            "tamis.statistics.schedules.exponential_ramp",
        ),
        _baseline,
    )
}
