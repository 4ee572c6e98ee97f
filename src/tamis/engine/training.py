"""The training loop: one for every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tamis.engine.evaluation import measured
from tamis.engine.feeding import Feeder, on_device
from tamis.engine.gradients import apply_gradients
from tamis.engine.random_state import own_draws, seed_draws
from tamis.engine.records import Record, Records
from tamis.engine.saved_state import SavedState
from tamis.engine.scanning import FeederScan
from tamis.engine.settings import Settings
from tamis.engine.sharding import sharded, share_buffers, sum_gradients
from tamis.engine.watching import seen, watched
from tamis.errors import RunError
from tamis.methods.base import Method, Verdict
from tamis.methods.batches import Batch, Moment, Pass
from tamis.methods.material import Material
from tamis.methods.plugin import Plugin
from tamis.methods.recipe import Recipe
from tamis.progress import track

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Training:
    """One run of one method.

    Parameters
    ----------
    method : Method
    feeder : Feeder
        Inputs, labels and augmentations of the training set, on the device.
    material : Material
    recipe : Recipe
    fabric : Fabric
    plugins : sequence of Plugin
    settings : Settings
    """

    def __init__(
        self,
        method: Method,
        feeder: Feeder,
        material: Material,
        recipe: Recipe,
        fabric: Fabric,
        plugins: Sequence[Plugin] = (),
        settings: Settings | None = None,
    ) -> None:
        self.method = method.to(fabric.device)
        self.plugins = torch.nn.ModuleList(plugins).to(fabric.device)
        self.feeder = feeder
        self.material = material
        self.recipe = recipe
        self.fabric = fabric
        self.settings = settings or Settings()
        self.scan = FeederScan(feeder, method, fabric.autocast)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.epoch = self.step = self.position = self.pass_number = 0
        self.best: dict[str, float] = {}
        self.sums: dict[str, Tensor] = {}
        self.plan: list[Pass] | None = None
        settings_ = self.settings
        is_writer = fabric.global_rank == 0
        self.records = Records(settings_.out, is_writer=is_writer, tensorboard=settings_.tensorboard)
        self.saved = SavedState(settings_.out, settings_.run_key, is_writer=is_writer)
        self._saved_at = time.monotonic()
        self._advance: Callable[[float], None] = lambda count: None

    def run(self) -> list[Record]:
        """Train to the end, from the last checkpoint if there is one; return the log, a record an epoch.

        Raises
        ------
        RunError
            The loss is not finite any more, or the checkpoint belongs to another run.
        """
        self._meet_plugins()
        with own_draws(), sharded([self.method, self.plugins], self.fabric):
            self._prepare()
            self.saved.restore(self)
            with track(self.settings.title, self._left(), unit="epochs") as advance:
                self._advance = advance
                while self.epoch < self.recipe.epochs and not self._is_stale():
                    self._run_epoch()
        self.records.close()
        return self.records.lines

    def verdict(self) -> Verdict:
        """Return what the method believes about the training labels."""
        with own_draws(), sharded([self.method], self.fabric):
            return self.method.verdict(self.scan)

    def _meet_plugins(self) -> None:
        for plugin in self._plugins():
            stage = plugin.meet(self.method, self.material)
            if stage is not None:
                feeder = self.feeder.with_batches_of(stage.recipe.batch_size)
                settings = self.settings.of_stage(stage.name)
                before = Training(
                    stage.method, feeder, self.material, stage.recipe, self.fabric, settings=settings
                )
                before.run()
                with own_draws():
                    plugin.learn(stage, before.scan)

    def _prepare(self) -> None:
        seed_draws(self.material.seed, 0)
        self.method.prepare(self.material, self.scan)
        for plugin in self._plugins():
            plugin.prepare(self.material, self.scan)
        # A method may have made modules while it looked at the data.
        self.method.to(self.fabric.device)
        self.plugins.to(self.fabric.device)
        optimizers = self.method.optimizers(self.recipe)
        own = [parameter for plugin in self._plugins() for parameter in plugin.trained()]
        if own:
            next(iter(optimizers.values())).add_param_group({"params": own})
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        self.optimizers = optimizers

    def _run_epoch(self) -> None:
        started, samples = time.perf_counter(), 0
        if self.plan is None:
            seed_draws(self.material.seed, 2 * self.step + 1)
            plan = self.method.plan_epoch(self.epoch, self.scan)
            self.plan = [on_device(part, self.fabric.device) for part in plan]
        for part in self.plan[self.pass_number :]:
            samples += self._run_pass(part)
            self.pass_number += 1
            self.position = 0
        seconds = time.perf_counter() - started
        share_buffers([self.method, self.plugins], self.fabric)
        self.epoch, self.pass_number, self.plan = self.epoch + 1, 0, None
        self._log_epoch(samples, seconds)
        self.saved.write(self)

    def _run_pass(self, plan: Pass) -> int:
        self.method.train()
        length, samples = self.feeder.length(plan), 0
        rows = self.feeder.rows(plan, self.position)
        while self.position < length:
            moment = self._moment(plan, length)
            upcoming = self.feeder.rows(plan, self.position + 1) if self.position + 1 < length else {}
            for index in upcoming.values():
                self.feeder.examples.prefetch(index)
            batches = self.feeder.batch(plan, rows, moment)
            samples += sum(len(batch) for batch in batches.values())
            self._take_step(batches, moment)
            rows = upcoming
            self.position, self.step = self.position + 1, self.step + 1
            self._advance(1 / (length * len(self.plan or [plan])))
            self._save_now_and_then(is_last=self.position == length)
        return samples

    def _moment(self, plan: Pass, length: int) -> Moment:
        seed, epochs = self.material.seed, self.recipe.epochs
        return Moment(seed, self.epoch, epochs, self.position, length, self.step, plan.name)

    def _take_step(self, batches: Mapping[str, Batch], moment: Moment) -> None:
        seed_draws(moment.seed, 2 * moment.step)
        self._move_rates(moment)
        loss = self._loss(batches, moment)
        self._check_finite(loss, moment)
        self.fabric.backward(loss)
        sum_gradients([self.method, self.plugins], self.fabric)
        apply_gradients(self.optimizers.values(), self.fabric, self.recipe.clip_norm)
        self.method.after_step(moment)
        self._count(loss=loss, **self.method.notes)
        self.method.notes = {}

    def _loss(self, batches: Mapping[str, Batch], moment: Moment) -> Tensor:
        active = [plugin for plugin in self._plugins() if plugin.is_active(moment)]
        with self.fabric.autocast():
            if not active:
                return _total(self.method.training_step(batches, moment))
            with watched(self.method) as calls:
                total = _total(self.method.training_step(batches, moment))
                shown = seen(self.method, calls, batches)
            for plugin in active:
                total = total + plugin.loss(shown, moment)
        return total

    def _move_rates(self, moment: Moment) -> None:
        factor = self.recipe.lr_factor(moment.progress)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        self.method.adjust(self.optimizers, moment)

    def _check_finite(self, loss: Tensor, moment: Moment) -> None:
        # On a GPU every look waits; a loss that is not finite stays so: a look now and then is enough.
        is_due = loss.device.type == "cpu" or moment.step % 50 == 0 or moment.position + 1 == moment.length
        if not is_due or math.isfinite(loss.item()):
            return
        has_folder = self.settings.out is not None
        kept = "the last checkpoint is kept" if has_folder else "nothing was kept"
        where = "; with other settings it is another run, in another folder" if has_folder else ""
        raise RunError(
            f"the loss is {loss.item()} at epoch {moment.epoch + 1}, step {moment.position + 1} of "
            f"{moment.length}: training has diverged ({kept}). Lower the learning rate (now "
            f"{self.recipe.lr:g}), set clip_norm, or look for NaN and huge values in the inputs{where}"
        )

    def _count(self, **values: Tensor) -> None:
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            steps = f"n_{name}"
            one = torch.ones((), device=value.device)
            self.sums[steps] = self.sums[steps] + one if steps in self.sums else one

    def _log_epoch(self, samples: int, seconds: float) -> None:
        means = {
            name: float(total / self.sums[f"n_{name}"])
            for name, total in self.sums.items()
            if f"n_{name}" in self.sums
        }
        self.sums = {}
        record: Record = {"epoch": self.epoch, "step": self.step, **means}
        record["lr"] = next(iter(self.optimizers.values())).param_groups[0]["lr"]
        record["seconds"] = round(seconds, 3)
        record["samples_per_second"] = round(samples / seconds, 1) if seconds else 0.0
        decisive: tuple[str, float] | None = None
        for name, evaluation in self.settings.evaluations.items():
            figures = measured(self.method, evaluation, self.feeder, self.fabric.autocast)
            record |= {f"{name}_{figure}": value for figure, value in figures.items()}
            if name == "validation":
                decisive = next(iter(figures.items()))
        self.records.add(record)
        if self.settings.report_epoch is not None and self.fabric.global_rank == 0:
            self.settings.report_epoch(record)
        if decisive is not None and decisive[1] > self.best.get(decisive[0], -math.inf):
            self.best = {decisive[0]: decisive[1], "epoch": float(self.epoch)}
            self.saved.write_best(self.method, self.best)

    def _is_stale(self) -> bool:
        patience = self.recipe.patience
        return bool(patience and self.best and self.epoch - self.best["epoch"] >= patience)

    def _save_now_and_then(self, *, is_last: bool) -> None:
        if not is_last and time.monotonic() - self._saved_at > self.settings.checkpoint_seconds:
            self.saved.write(self)
            self._saved_at = time.monotonic()

    def _plugins(self) -> list[Plugin]:
        return [plugin for plugin in self.plugins if isinstance(plugin, Plugin)]

    def _left(self) -> int:
        return max(0, self.recipe.epochs - self.epoch)


def _total(losses: Tensor | Mapping[str, Tensor]) -> Tensor:
    # Each of several losses reaches the weights of its own optimiser only, so one backward pass serves all.
    if isinstance(losses, Tensor):
        return losses
    return torch.stack([loss.float() for loss in losses.values()]).sum()
