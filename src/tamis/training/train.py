"""The verb: train on a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tamis.auditing import Audit
from tamis.auditing.run_folder import source_path
from tamis.engine.fabric import Precision
from tamis.engine.records import Record
from tamis.methods import Plugin
from tamis.training.job import Job
from tamis.training.knowledge import Selection
from tamis.training.model import TrainedModel
from tamis.training.settings import Params, Value
from tamis.training.source import as_dataset
from tamis.training.views import Augmentation
from tamis.training.wishes import Wishes


def train(
    data: object = None,
    *,
    features: object = None,
    labels: object = None,
    method: str,
    params: Params | None = None,
    backbone: str = "auto",
    epochs: int | None = None,
    task: str = "auto",
    initial_selection: Selection = None,
    plugins: Sequence[str | Plugin] = (),
    validation: float = 0.0,
    device: str = "auto",
    random_state: int = 0,
    out: str | os.PathLike[str] | None = None,
    audit: Audit | bool = True,
    test: object = None,
    encoder: object = None,
    prompts: object = None,
    backbone_options: Mapping[str, Value] | None = None,
    image_size: int | None = None,
    augmentation: Augmentation = "auto",
    flip: bool = True,
    precision: Precision = "auto",
    processes: int = 1,
    memory_budget: str | int | None = "2GiB",
    tensorboard: bool = False,
    class_names: Sequence[str | int] | None = None,
    read_options: Mapping[str, object] | None = None,
    report_epoch: Callable[[Record], None] | None = None,
) -> TrainedModel:
    """Train a classifier on labels that are partly wrong, and hear what it thinks of them.

    Parameters
    ----------
    data : path, Dataset, data frame, arrays, ..., optional
        Anything `tamis.read` takes.
    features : (n, d) float, optional
        With ``labels`` instead of ``data``, or beside it.
    labels : (n,) labels, optional
    method : str
        Such as "elr"; `tamis methods` lists all.
    params : mapping, optional
        Hyper-parameters of the method, and settings of its recipe (``lr``, ``batch_size``, ...).
    backbone : str
        "auto", or a name of `tamis.backbones.BACKBONES`. One that takes features gets, from images and texts,
        those of a frozen pretrained encoder.
    epochs : int, optional
        The recipe's where None.
    task : {"auto", "classification"}
    initial_selection : (n,) bool, Audit, path, "audit", "clipcleaner" or name of a detector, optional
        Rows that are taken for rightly labelled at the start. Methods that select for themselves go on from
        there; the others train on these rows alone.
    plugins : sequence of str or Plugin
        Added to the method, such as "relation_distillation".
    validation : float
        Share of the rows, in [0, 0.5], that is held out. Its labels are as noisy as the others; its accuracy
        chooses the best epoch.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    random_state : int
        First weights, order, augmentation: everything random is a function of it.
    out : path, optional
        Run folder: weights, issue table, report, log, checkpoints. A killed run is continued from there.
    audit : bool or Audit
        The audit whose evidence the verdict is weighed with, and which estimates the noise rate: made where
        True, given, or none (False): the verdict is then the method's alone.
    test : path, Dataset or (features, labels), optional
        Labelled rows whose accuracy is recorded after every epoch; nothing is chosen by it.
    encoder : None, str, Encoder or callable
        For images and texts where the network takes features; also the audit's.
    prompts : path or Prompts, optional
        For ``initial_selection="clipcleaner"``.
    backbone_options : mapping, optional
        Options of the backbone, such as ``{"hidden": (256,)}``.
    image_size : int, optional
        Side of the squares that images are brought to.
    augmentation : {"auto", "none", "weak", "strong"}
        What methods get that ask for weakly augmented rows.
    flip : bool
        Whether a mirror image keeps its class: False for digits and text.
    precision : {"auto", "32-true", "bf16-mixed", "16-mixed"}
    processes : int
        More than one: each computes part of every batch.
    memory_budget : str, int or None
        Images that fit stay in memory decoded.
    tensorboard : bool
        Also write event files.
    class_names, read_options
        As for `tamis.audit`.
    report_epoch : callable, optional
        Called after every epoch with its record: loss, accuracies, speed, what the method reports.

    Returns
    -------
    TrainedModel

    Raises
    ------
    InputError
        The data or an argument cannot be used; the message says which, why, and what to do.
    RunError
        Training has diverged, or ``out`` holds another run.

    Examples
    --------
    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> y = np.arange(300) % 3
    >>> x = draw.normal(size=(300, 5)) + 4 * np.eye(5)[y]
    >>> y[:6] = (y[:6] + 1) % 3
    >>> model = train(features=x, labels=y, method="cross_entropy", epochs=30)
    >>> model.predict(x)[6:9], model.issues["is_label_issue"].to_pylist()[:2]
    (array([0, 1, 2]), [True, True])
    """
    wishes = Wishes(
        method=method,
        params=params,
        backbone=backbone,
        backbone_options=backbone_options,
        epochs=epochs,
        task=task,
        initial_selection=initial_selection,
        plugins=(plugins,) if isinstance(plugins, str) else tuple(plugins),
        validation=validation,
        device=device,
        random_state=random_state,
        out=None if out is None else Path(out),
        audit=audit,
        test=test,
        encoder=encoder,
        prompts=prompts,
        image_size=image_size,
        augmentation=augmentation,
        flip=flip,
        precision=precision,
        processes=processes,
        memory_budget=memory_budget,
        tensorboard=tensorboard,
        read_options=dict(read_options or {}),
        report_epoch=report_epoch,
    )
    dataset = as_dataset(data, features, labels, class_names=class_names, read_options=read_options)
    return Job(wishes, dataset, source_path(data)).run()
