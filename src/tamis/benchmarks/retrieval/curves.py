"""Curves of a benchmark of metric learning: P@1 and MAP@R on the test classes, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tamis.benchmarks.pictures import draw_picture, mean_curves, picture_path
from tamis.benchmarks.retrieval.config import UNTRAINED, RetrievalConfig
from tamis.benchmarks.retrieval.plan import candidates
from tamis.benchmarks.trial import Row

_PANELS = (("test", "test P@1"), ("test_map_at_r", "test MAP@R"))


def draw_curves(config: RetrievalConfig, rows: Sequence[Row], out: Path) -> list[Path]:
    """Write one picture a data set and noise, ``curves-<name>.png``; return the paths.

    Parameters
    ----------
    config : RetrievalConfig
    rows : sequence of mapping
        ``trial`` names the file with the curves.
    out : Path
        Run folder.
    """
    written = []
    for data in config.data:
        titles = [each.title for each in candidates(config, data) if each.method != UNTRAINED]
        for noise in config.noise:
            own = [row for row in rows if (row["data"], row["noise"]) == (data.name, noise.name)]
            found = {
                title: mean_curves(
                    [row for row in own if row["candidate"] == title], out, [name for name, _ in _PANELS]
                )
                for title in titles
            }
            curves = {title: lines for title, lines in found.items() if lines}
            if curves:
                heading = f"{data.name}, {noise.name}"
                path = picture_path(out, heading)
                draw_picture(curves, heading, path, _PANELS)
                written.append(path)
    return written
