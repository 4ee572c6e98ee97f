"""What the report says about a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tamis.engine.records import Record
from tamis.methods import METHODS
from tamis.reporting.curves import TrainingSection
from tamis.training.spec import ModelSpec


def training_section(
    spec: ModelSpec, history: Sequence[Record], description: Mapping[str, object]
) -> TrainingSection:
    """Return method, network, recipe and curves of a run.

    Parameters
    ----------
    spec : ModelSpec
    history : sequence of records
        One an epoch.
    description : mapping
        The run's ``run.json``, or what it will be.
    """
    facts = METHODS.facts(spec.method)
    paper = f". {facts.paper}" if facts.paper else ""
    lines = [("Method", f"{facts.title} ({spec.method}){paper}")]
    if spec.params:
        lines.append(("Parameters", _listed(spec.params)))
    lines.append(("Network", f"{spec.backbone} {_listed(spec.backbone_options)}".strip()))
    if spec.encoder:
        lines.append(("Features", f"made by the encoder {spec.encoder}"))
    config = description.get("config")
    if isinstance(config, Mapping):
        recipe = config.get("recipe")
        if isinstance(recipe, Mapping):
            lines.append(
                ("Recipe", _listed({key: value for key, value in recipe.items() if value is not None}))
            )
        lines += [
            (name.replace("_", " ").capitalize(), str(config[name]))
            for name in ("plugins", "initial_selection")
            if config.get(name)
        ]
    if history:
        lines.append(("Last epoch", _listed(_rounded(history[-1]))))
    lines.append(("Rows trained on", f"{spec.n_samples:,}"))
    return TrainingSection(tuple(lines), history)


def _rounded(record: Record) -> dict[str, object]:
    return {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in record.items()}


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
