"""Golden cases of BARE."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs
from torch.nn import functional

from tamis.selectors.bare import BareSelector, bare_loss, bare_selection


def _bare(inputs: Case, params: Case) -> Outputs:
    logits = torch.tensor(inputs["logits"], dtype=torch.float64, requires_grad=True)
    labels, kappa = torch.tensor(inputs["labels"]), params["kappa"]
    stats = "same_label" if params["source"].startswith("derived") else "all"
    selection = bare_selection(logits, labels, kappa, stats=stats)
    loss = bare_loss(logits, labels, kappa, stats=stats)
    (gradient,) = torch.autograd.grad(loss, logits)
    losses = functional.cross_entropy(logits.detach(), labels, reduction="none")
    selected = BareSelector(kappa=kappa, stats=stats)(logits, labels)
    assert torch.equal(selected.keep, selection.keep)
    torch.testing.assert_close(selected.weighted_mean(losses), loss.detach())
    return {
        "mask": selection.keep,
        "selected_index": selection.keep.nonzero()[:, 0],
        "threshold_per_class": selection.threshold,
        "loss_mean": loss,
        "grad_logits": gradient,
        "per_sample_loss_selected": losses[selection.keep],
    }


GOLDEN: dict[str, Golden] = {
    "bare": Golden(
        ("tamis.selectors.bare_selection", "tamis.selectors.bare_loss", "tamis.selectors.BareSelector"),
        _bare,
        takes_source=True,
    )
}
