"""A pretrained model beside the run that started from it, so that the run folder can be moved and kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tamis.runs import atomic_path
from tamis.training.spec import ModelSpec

FOLDER = "pretrained"

_KEPT = frozenset({".json", ".txt", ".model", ".safetensors"})


def keep_pretrained(spec: ModelSpec, run: Path) -> None:
    """Copy configuration, tokenizer and weights of the folder that a backbone was made from."""
    source = spec.backbone_options.get("source")
    if not isinstance(source, str) or not Path(source).is_dir():
        return
    for file in sorted(Path(source).iterdir()):
        if file.suffix in _KEPT and file.is_file():
            with atomic_path(run / FOLDER / file.name) as path:
                shutil.copyfile(file, path)


def with_kept(spec: ModelSpec, run: Path) -> ModelSpec:
    """Return the description of a model that takes its pretrained part from the run folder."""
    folder = run / FOLDER
    if not folder.is_dir():
        return spec
    options = {**spec.backbone_options, "source": str(folder)}
    form = spec.form if spec.form.tokenizer is None else replace(spec.form, tokenizer=str(folder))
    return replace(spec, backbone_options=options, form=form)
