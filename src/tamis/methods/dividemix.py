"""DivideMix: two networks part the samples for each other, and learn from both parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tamis.errors import InputError
from tamis.losses.mixmatch import linear_rampup, mixmatch_losses, negative_entropy
from tamis.methods.base import METHODS, BuildNetwork, Losses, TwoNetworks, Verdict, given_class_scores
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.division import Division
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts
from tamis.samplers import cycled, shuffled
from tamis.statistics.labelled_logits import checked_logits
from tamis.targets import co_guess, co_refine, mixup, mixup_lambda, mixup_permutation, sharpen

_VIEWS = ("weak", "weak")


@METHODS.register(
    "dividemix",
    Facts(
        title="DivideMix",
        inputs=("any",),
        year=2020,
        paper="J. Li, R. Socher, S. C. H. Hoi. DivideMix: learning with noisy labels as semi-supervised "
        "learning. ICLR 2020.",
    ),
)
class DivideMix(TwoNetworks):
    """Every epoch, losses under each network tell the other which labels to use; the rest is unlabelled data.

    Costs about five times what cross-entropy does. Inputs must be numbers that can be mixed, not tokens. The
    penalty of its loss assumes classes of similar size. Predicts with the mean of both networks' logits.

    An initial selection is what the warm-up is trained on and, with the label scores where there are any, the
    first split; later splits are the networks' own. Rows without a label are among the unlabelled ones.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    warm_up : float, default=0.1
        Epochs of cross-entropy before the first split; below 1 as a share of all epochs. The paper: 10 of 300
        for CIFAR-10, 30 for CIFAR-100, 1 of 80 with pretrained networks.
    confidence_penalty : float, at least 0, default=0.0
        Weight of the negative entropy in the warm-up; 1 for asymmetric noise.
    threshold : float in [0, 1), default=0.5
        A label is used where the posterior of the small losses is above; 0.6 at 90 % noise.
    average_last : int, default=1
        Split the mean of so many epochs' losses; 5 at 90 % noise.
    temperature : float, at least 0, default=0.5
        Of sharpening.
    alpha : float, at least 0, default=4.0
        Of mixup's Beta distribution; 0 = no mixing.
    lambda_u : float, at least 0, default=25.0
        Weight of the unlabelled rows. The paper chooses among 0, 25, 50 and 150: the more noise the larger.
    rampup_length : float, at least 0, default=16
        Epochs after the warm-up until that weight is reached.
    eval_targets : bool, default=False
        Make targets, of labelled and of unlabelled rows, with the trained network in evaluation mode. The
        authors' code makes them in training mode: its batch statistics then move, and dropout is on.

    Raises
    ------
    InputError
        A parameter out of range.

    Warns
    -----
    TamisWarning
        A split fails, so that the one before stands; or it leaves a class without a label.

    Notes
    -----
    The paper: SGD at 0.02, weight decay 0.0005, batches of 64 labelled and as many unlabelled rows, 300
    epochs, a tenth of the learning rate from 150 on. Here 50 epochs. Both views of a batch go through a
    network together, in the authors' code one after the other: only batch statistics feel it. Where nothing
    is augmented, as features by default, there is one view, and a step costs half.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = DivideMix(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    recipe = Recipe(batch_size=64, schedule="steps", milestones=(0.5,))
    views = _VIEWS

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        warm_up: float = 0.1,
        confidence_penalty: float = 0.0,
        threshold: float = 0.5,
        average_last: int = 1,
        temperature: float = 0.5,
        alpha: float = 4.0,
        lambda_u: float = 25.0,
        rampup_length: float = 16,
        eval_targets: bool = False,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_span(warm_up, "warm_up")
        mixup_lambda(alpha, seed=0, step=0)  # refuses an alpha out of range
        sharpen(torch.ones(1, 1), temperature)  # refuses a temperature out of range
        linear_rampup(0, warm_up=0, rampup_length=rampup_length)  # refuses a length out of range
        for name, value in (("confidence_penalty", confidence_penalty), ("lambda_u", lambda_u)):
            if not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value}; expected a weight of at least 0")
        self.warm_up = warm_up
        self.confidence_penalty = confidence_penalty
        self.temperature = temperature
        self.alpha = alpha
        self.lambda_u = lambda_u
        self.rampup_length = rampup_length
        self.eval_targets = eval_targets
        self.plan = self.recipe
        self.division, self.division_2 = (
            Division(n_samples, threshold=threshold, average_last=average_last) for _ in range(2)
        )

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return an optimiser for each network, and note how long training takes."""
        self.plan = recipe
        return super().optimizers(recipe)

    @property
    def n_warm_up(self) -> int:
        """Epochs of the warm-up."""
        return span(self.warm_up, self.plan.epochs)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Warm both networks up; then split, and train one network after the other."""
        if epoch < self.n_warm_up:
            return [self._warm_up_pass(epoch)]
        divisions, networks = (self.division, self.division_2), (self.network, self.network_2)
        if self.known.selected is not None and not self.division.is_made:
            for division in divisions:
                division.start(self.known)
        else:
            # Both splits are made before either network is trained.
            losses = [scan.losses(network) for network in networks]
            for division, values in zip(divisions, losses, strict=True):
                division.renew(values, self.known, self.plan.batch_size)
        return [self._pass("first", self.division_2, epoch), self._pass("second", self.division, epoch)]

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the warm-up losses of both networks, or the loss of the one whose pass it is."""
        if moment.phase == "warm_up":
            pairs = {"first": self.network, "second": self.network_2}
            return {name: self._warm_up_loss(pairs[name], batch) for name, batch in batches.items()}
        one, two = (self.network, self.division), (self.network_2, self.division_2)
        (network, _), (other, division) = (one, two) if moment.phase == "first" else (two, one)
        self.note(kept=division.is_clean.float().mean())
        return {moment.phase: self._mixed_loss(network, other, division.prob_clean, batches, moment)}

    def _warm_up_loss(self, network: nn.Module, batch: Batch) -> Tensor:
        logits = checked_logits(network(batch.inputs).logits)
        loss = cross_entropy(logits, batch.labels)
        if self.confidence_penalty:
            loss = loss + self.confidence_penalty * negative_entropy(logits)
        return loss

    def _mixed_loss(
        self,
        network: nn.Module,
        other: nn.Module,
        prob_clean: Tensor,
        batches: Mapping[str, Batch],
        moment: Moment,
    ) -> Tensor:
        labelled, unlabelled = batches["labelled"], batches.get("unlabelled")
        targets = self._refined(network, labelled, prob_clean[labelled.index])
        inputs = [*_different(labelled)]
        n_labelled = len(inputs) * len(labelled)
        all_targets = [targets] * len(inputs)
        if unlabelled is not None:
            guessed = self._guessed(network, other, unlabelled)
            views = _different(unlabelled)
            inputs += views
            all_targets += [guessed] * len(views)
        network.train()
        rows = torch.cat(inputs)
        weight = mixup_lambda(self.alpha, moment.seed, moment.step)
        partner = mixup_permutation(len(rows), moment.seed, moment.step, device=rows.device)
        mixed = mixup(rows, torch.cat(all_targets), weight, partner)
        logits = checked_logits(network(mixed.inputs).logits)
        (logits_x, logits_u), (targets_x, targets_u) = (
            (rows[:n_labelled], rows[n_labelled:]) for rows in (logits, mixed.targets)
        )
        terms = mixmatch_losses(logits_x, targets_x, logits_u, targets_u)
        lambda_u = linear_rampup(
            moment.progress,
            warm_up=self.n_warm_up,
            weight=self.lambda_u,
            rampup_length=self.rampup_length,
        )
        self.note(labelled=terms.labelled, unlabelled=terms.unlabelled, penalty=terms.penalty)
        return terms.total(lambda_u)

    def _refined(self, network: nn.Module, batch: Batch, prob_clean: Tensor) -> Tensor:
        """Return targets of labelled rows: between the given label and what the network says."""
        network.train(not self.eval_targets)
        one, two = _predictions(network, batch)
        return co_refine(one, two, batch.labels, prob_clean, temperature=self.temperature)

    def _guessed(self, network: nn.Module, other: nn.Module, batch: Batch) -> Tensor:
        """Return targets of unlabelled rows: what both networks say."""
        other.eval()
        return co_guess(
            *_predictions(network, batch), *_predictions(other, batch), temperature=self.temperature
        )

    def _warm_up_pass(self, epoch: int) -> Pass:
        rows, seed = self.known.usable.cpu().numpy(), self.known.seed
        orders = [torch.from_numpy(shuffled(rows, seed, epoch, cycle=k)) for k in range(2)]
        streams = [Stream(order, _VIEWS[:1], drop_last=True) for order in orders]
        return Pass(dict(zip(("first", "second"), streams, strict=True)), name="warm_up")

    def _pass(self, name: str, judge: Division, epoch: int) -> Pass:
        """Return the pass of one network, over the split of the other."""
        seed, is_clean = self.known.seed, judge.is_clean.cpu().numpy()
        clean, rest = np.flatnonzero(is_clean), np.flatnonzero(~is_clean)
        part = int(name == "second")
        labelled = shuffled(clean, seed, epoch, cycle=part)
        streams = {"labelled": Stream(torch.from_numpy(labelled), _VIEWS, drop_last=True)}
        if len(rest):
            # As long as the labelled stream, in a new order each time round.
            order = cycled(lambda cycle: shuffled(rest, seed, epoch, cycle=2 * cycle + part), len(labelled))
            streams["unlabelled"] = Stream(torch.from_numpy(order), _VIEWS, drop_last=True)
        return Pass(streams, name=name)

    def verdict(self, scan: Scan) -> Verdict:
        """Return the mean of both networks' posteriors that a label is right, and of their probabilities.

        Before the first split: the probability of the given label.
        """
        pairs = ((self.network, self.division), (self.network_2, self.division_2))
        beliefs = torch.stack([scan.probabilities(network) for network, _ in pairs]).mean(dim=0)
        if not self.division.is_made:
            return Verdict(given_class_scores(beliefs, self.known.labels), beliefs)
        splits = [division.split(scan.losses(network), self.known) for network, division in pairs]
        scores = torch.full((self.n_samples,), float("nan"), dtype=torch.float64)
        scores[self.known.labelled.cpu()] = torch.from_numpy(
            np.mean([split.prob_clean for split in splits], axis=0)
        )
        return Verdict(scores.to(beliefs.device), beliefs)


@torch.no_grad()
def _predictions(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return a network's probabilities of both views, (B, K) each."""
    views = _different(batch)
    found = checked_logits(network(torch.cat(views)).logits).softmax(dim=1).chunk(len(views))
    return found[0], found[-1]


def _different(batch: Batch) -> tuple[Tensor, ...]:
    """Return the views; one where both are the same tensor, because nothing is augmented."""
    one, two = batch.views
    return (one,) if one is two else (one, two)
