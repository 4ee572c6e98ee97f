"""Everything that is needed to build a method again: saved beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch

from tamis.backbones import Classifier, InputKind, build_backbone
from tamis.errors import RunError
from tamis.methods import METHODS, Method
from tamis.training.inputs import InputForm
from tamis.training.settings import Value


@dataclass(frozen=True)
class ModelSpec:
    """What a trained model is, without its weights.

    Attributes
    ----------
    method : str
    params : mapping
        Hyper-parameters that differ from the method's defaults.
    backbone : str
    backbone_options : mapping
    n_samples : int
        Rows the method was trained on.
    class_names : tuple of str or int
    form : InputForm
    encoder : str or None
        What made the features, where the network takes features of images or texts.
    flip : bool
        Whether training used mirror images.
    seed : int
    """

    method: str
    params: Mapping[str, Value]
    backbone: str
    backbone_options: Mapping[str, Value]
    n_samples: int
    class_names: tuple[str | int, ...]
    form: InputForm
    encoder: str | None
    flip: bool
    seed: int

    @property
    def task(self) -> str:
        """What the method is for: "classification" or "retrieval"."""
        return METHODS.facts(self.method).task

    def build(self) -> Method:
        """Return the method with its first weights."""
        kind = METHODS.get(self.method)
        make = cast(Callable[..., Method], kind)
        return make(
            self.network, n_samples=self.n_samples, n_classes=len(self.class_names), **dict(self.params)
        )

    def network(self, number: int, n_outputs: int | None = None) -> Classifier:
        """Return a network with its first weights; see `tamis.methods.base.BuildNetwork`."""
        # Two networks of one run must differ, and so must the networks of two runs.
        seed = self.seed * 1000 + number
        return build_backbone(
            self.backbone,
            input_shape=self.form.shape,
            n_classes=n_outputs or len(self.class_names),
            seed=seed,
            **dict(self.backbone_options),  # type: ignore[arg-type]  # lists of JSON are made tuples below
        )

    def to_json(self) -> dict[str, Any]:
        """Return what can be written as JSON; scales of features go beside the weights."""
        values = asdict(self)
        form = self.form
        values["form"] = {"kind": form.kind, "shape": list(form.shape), "tokenizer": form.tokenizer}
        values["class_names"] = list(self.class_names)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], scales: Mapping[str, torch.Tensor]) -> ModelSpec:
        """Return what `to_json` described.

        Raises
        ------
        RunError
            Something is missing or damaged.
        """
        try:
            form = values["form"]
            mean, std = (_array(scales.get(name)) for name in ("mean", "std"))
            shape = tuple(int(side) for side in form["shape"])
            options = {key: _tupled(value) for key, value in values["backbone_options"].items()}
            return cls(
                method=values["method"],
                params={key: _tupled(value) for key, value in values["params"].items()},
                backbone=values["backbone"],
                backbone_options=options,
                n_samples=int(values["n_samples"]),
                class_names=tuple(values["class_names"]),
                form=InputForm(cast(InputKind, form["kind"]), shape, mean, std, form.get("tokenizer")),
                encoder=values["encoder"],
                flip=bool(values["flip"]),
                seed=int(values["seed"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the description of the model is damaged ({error!r}); train it again") from error


def _tupled(value: Value) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _array(tensor: torch.Tensor | None) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    return None if tensor is None else tensor.numpy().astype(np.float32)
