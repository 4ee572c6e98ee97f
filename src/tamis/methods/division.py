"""What the losses under one network say about the labels: a split of DivideMix, kept between epochs."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from tamis.errors import TamisWarning
from tamis.methods.material import Material
from tamis.statistics.co_divide import CoDivide, co_divide


class Division(nn.Module):
    """The newest split under one network. All it remembers is in buffers.

    Parameters
    ----------
    n_samples : int
    threshold : float in [0, 1)
    average_last : int
        As in `tamis.statistics.co_divide.co_divide`.

    Attributes
    ----------
    prob_clean : (n,) float32 tensor
        Posterior that the given label is right; 0 where there is none.
    is_clean : (n,) bool tensor
        Whose label is used.
    is_made : bool tensor
        Whether there is a split yet.

    Examples
    --------
    >>> division = Division(4, threshold=0.5, average_last=1)
    >>> material = Material(torch.tensor([0, 1, 1, -1]), n_classes=2)
    >>> division.renew(torch.tensor([0.1, 2.0, 0.2, 0.0]), material)
    >>> division.is_clean
    tensor([ True, False,  True, False])
    """

    prob_clean: Tensor
    is_clean: Tensor
    is_made: Tensor
    history: Tensor
    n_history: Tensor

    def __init__(self, n_samples: int, *, threshold: float, average_last: int) -> None:
        super().__init__()
        co_divide([0.0], threshold=threshold, average_last=average_last)  # refuses both out of range
        self.threshold = threshold
        self.average_last = average_last
        self.register_buffer("prob_clean", torch.zeros(n_samples))
        self.register_buffer("is_clean", torch.zeros(n_samples, dtype=torch.bool))
        self.register_buffer("is_made", torch.zeros((), dtype=torch.bool))
        self.register_buffer("history", torch.zeros(average_last - 1, n_samples))  # the oldest first
        self.register_buffer("n_history", torch.zeros((), dtype=torch.int64))

    def split(self, losses: Tensor, material: Material, batch_size: int = 1) -> CoDivide:
        """Return the split of the labelled rows by these losses and the remembered ones; changes nothing.

        Parameters
        ----------
        losses : (n,) float tensor
            Cross-entropy of every row.
        material : Material
        batch_size : int, default=1
            At least so many labels are used.
        """
        rows = material.labelled
        previous = None
        if self.is_made:
            prob_clean, is_clean = self.prob_clean[rows].cpu().double(), self.is_clean[rows].cpu()
            previous = CoDivide(prob_clean.numpy(), is_clean.numpy(), np.zeros(len(rows)))
        known = self.history[len(self.history) - int(self.n_history) :]
        return co_divide(
            losses[rows].cpu().numpy(),
            known[:, rows].cpu().numpy(),
            average_last=self.average_last,
            threshold=self.threshold,
            previous=previous,
            batch_size=batch_size,
            random_state=material.seed,
        )

    def renew(self, losses: Tensor, material: Material, batch_size: int = 1) -> None:
        """Split, and remember the split and the losses."""
        found = self.split(losses, material, batch_size)
        rows, like = material.labelled, self.prob_clean
        self.prob_clean[rows] = torch.from_numpy(found.prob_clean).to(like)
        self.is_clean[rows] = torch.from_numpy(found.is_clean).to(like.device)
        if len(self.history):
            self.history.copy_(torch.cat([self.history[1:], losses[None].to(like)]))
            self.n_history.copy_((self.n_history + 1).clamp(max=len(self.history)))
        self.is_made.fill_(True)
        self._warn_of_lost_classes(material)

    def start(self, material: Material) -> None:
        """Take the initial selection for the first split, with the label scores where there are any."""
        assert material.selected is not None
        chosen = material.selected & (material.labels >= 0)
        belief = chosen.to(self.prob_clean)
        if material.label_scores is not None:
            scores = material.label_scores.to(belief)
            belief = torch.where(scores.isnan(), belief, scores)
        self.is_clean.copy_(chosen)
        self.prob_clean.copy_(belief)
        self.is_made.fill_(True)
        self._warn_of_lost_classes(material)

    def _warn_of_lost_classes(self, material: Material) -> None:
        labels, n_classes = material.labels, material.n_classes
        n_given = torch.bincount(labels[labels >= 0], minlength=n_classes)
        n_clean = torch.bincount(labels[self.is_clean], minlength=n_classes)
        lost = torch.nonzero((n_given > 0) & (n_clean == 0)).flatten().tolist()
        if lost:
            message = (
                f"no label of {len(lost)} classes is taken for right (codes {str(lost[:5])[1:-1]}): training "
                "may lose them; lengthen the warm-up, lower the threshold, or give an initial selection"
            )
            warnings.warn(message, TamisWarning, stacklevel=3)
