"""The page as plain values: every sentence and number, ready for the templates."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.data.dataset import Dataset
from tamis.issues.summary import AuditSummary
from tamis.reporting.annotators import AnnotatorRow, annotator_rows
from tamis.reporting.curves import Curves, TrainingSection, curves_of
from tamis.reporting.embedding_map import MapSection, map_section
from tamis.reporting.gallery import Card, build_cards
from tamis.reporting.identities import Identities, IdentityHints, identity_hints
from tamis.reporting.other_issues import IssueSection, issue_sections
from tamis.reporting.plots import ScoreBin, histogram_uris, score_bins
from tamis.reporting.samples import SampleReader, column_values
from tamis.reporting.tables import ClassRow, Confusion, HeatMap, class_rows, confusions, heat_map
from tamis.reporting.wording import (
    Shown,
    count,
    count_interval,
    counted,
    percent,
    percent_interval,
    shown,
    visible,
)
from tamis.runs import versions
from tamis.types import IntArray


@dataclass(frozen=True)
class Tile:
    """One number that matters, what it is, and its interval or remark."""

    value: str
    label: str
    detail: str


@dataclass(frozen=True)
class CutRow:
    """What to expect from reading the first ``k`` rows of the ranking."""

    k: str
    precision: str
    interval: str
    n_wrong: str


@dataclass(frozen=True)
class Histogram:
    """The distribution of label scores, drawn for light and for dark pages, and as a table."""

    light: str
    dark: str
    alt: str
    bins: tuple[ScoreBin, ...]


@dataclass(frozen=True)
class Making:
    """How the report came about."""

    facts: tuple[tuple[str, str], ...]
    timings: tuple[tuple[str, str], ...]
    command: str


@dataclass(frozen=True)
class Page:
    """Everything that the templates show."""

    source: Shown
    headline: str
    interval: str
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    calibrated: bool
    has_pictures: bool
    has_texts: bool
    cards: tuple[Card, ...]
    n_flagged: int
    cuts: tuple[CutRow, ...]
    classes: tuple[ClassRow, ...]
    n_classes: int
    heat: HeatMap | None
    confusions: tuple[Confusion, ...]
    histogram: Histogram | None
    issues: tuple[IssueSection, ...]
    not_assessed: tuple[tuple[str, str], ...]
    making: Making
    annotators: tuple[AnnotatorRow, ...] = ()
    n_annotators: int = 0
    training: Curves | None = None
    identities: IdentityHints | None = None
    map: MapSection | None = None


def build_page(
    *,
    source: str,
    summary: AuditSummary,
    issues: pa.Table,
    dataset: Dataset | None,
    neighbors: IntArray | None,
    n_examples: int,
    run: Path | None,
    random_state: int | None,
    annotators: pa.Table | None = None,
    training: TrainingSection | None = None,
    identities: Identities | None = None,
    embedding_map: pa.Table | None = None,
) -> Page:
    """Return the page of an audit; the arguments are those of `write_report`."""
    reader = SampleReader(issues, dataset)
    calibrated = summary.expected_wrong is not None
    headline, interval = _headline(summary)
    hints = identity_hints(reader, issues, identities or Identities())
    return Page(
        source=shown(source or "unnamed data", 120),
        headline=headline,
        interval=interval,
        tiles=_tiles(summary),
        notes=tuple(shown(note, 800).text for note in summary.notes),
        calibrated=calibrated,
        has_pictures=reader.has_pictures,
        has_texts=reader.has_texts,
        cards=build_cards(
            reader, issues, neighbors, n_examples, calibrated=calibrated, has_groups=hints is not None
        ),
        n_flagged=summary.n_flagged,
        cuts=_cuts(summary),
        classes=class_rows(summary),
        n_classes=len(summary.classes),
        heat=heat_map(summary),
        confusions=confusions(summary),
        histogram=_histogram(issues, summary),
        issues=issue_sections(reader, issues, summary),
        not_assessed=tuple((shown(reason, 300).text, count(n)) for reason, n in summary.not_assessed.items()),
        making=_making(source, summary, run, random_state),
        annotators=annotator_rows(annotators),
        n_annotators=0 if annotators is None else annotators.num_rows,
        training=None if training is None else curves_of(training),
        identities=hints,
        map=map_section(embedding_map, issues, summary),
    )


def _headline(summary: AuditSummary) -> tuple[str, str]:
    wrong = summary.expected_wrong
    if not summary.n_labelled:
        return "No sample carries a label", "There was nothing to assess."
    if not summary.n_assessed:
        return f"None of {counted(summary.n_labelled, 'label')} could be assessed", "The reasons are below."
    labels = counted(summary.n_assessed, "label")
    if summary.n_assessed < summary.n_labelled:
        labels = f"{summary.n_assessed:,} assessed labels"
    if wrong is None:
        why = "The notes below say why. " if summary.notes else ""
        text = f"{why}The ranking still puts the most suspicious labels first."
        return f"How many of {labels} are wrong cannot be known", text
    if wrong.estimate < 0.5:
        headline = f"Hardly any of {labels} is wrong"
    else:
        headline = f"About {wrong.estimate:,.0f} of {labels} are probably wrong"
    rate = summary.noise_rate
    share = "" if rate is None else f", that is {percent_interval(rate)} of them"
    return headline, f"{percent(0.95)} interval {count_interval(wrong)}{share}"


def _tiles(summary: AuditSummary) -> tuple[Tile, ...]:
    tiles = [
        Tile(count(summary.n_flagged), "flagged", f"label score below {summary.flag_threshold:.2f}"),
    ]
    precision = summary.flag_precision
    if precision is not None:
        tiles.append(
            Tile(
                percent(precision.estimate),
                "of the flagged are wrong",
                f"expected; {percent_interval(precision)}",
            )
        )
    if summary.precision_at:
        below = [k for k in summary.precision_at if k <= 100]
        k = max(below) if below else min(summary.precision_at)
        at_k = summary.precision_at[k]
        tiles.append(
            Tile(
                percent(at_k.estimate), f"of the first {k:,} are wrong", f"expected; {percent_interval(at_k)}"
            )
        )
    missing = summary.n_samples - summary.n_assessed
    tiles.append(Tile(count(missing), "not assessed", f"of {counted(summary.n_samples, 'sample')}"))
    return tuple(tiles)


def _cuts(summary: AuditSummary) -> tuple[CutRow, ...]:
    return tuple(
        CutRow(count(k), percent(at_k.estimate), percent_interval(at_k), count(k * at_k.estimate))
        for k, at_k in sorted(summary.precision_at.items())
    )


def _histogram(issues: pa.Table, summary: AuditSummary) -> Histogram | None:
    scores = column_values(issues, "label_score")
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return None
    bins = score_bins(scores)
    light, dark = histogram_uris(bins, summary.flag_threshold, calibrated=summary.expected_wrong is not None)
    low, high = bins[0], bins[-1]
    alt = (
        f"Histogram of {counted(len(scores), 'label score')}: {low.n_rows:,} lie below {low.high}, "
        f"{high.n_rows:,} above {high.low}. The table below holds every bar."
    )
    return Histogram(light, dark, alt, tuple(bins))


def _making(source: str, summary: AuditSummary, run: Path | None, random_state: int | None) -> Making:
    facts = [("Source", shown(source, 800).text if source else "not recorded")]
    facts.append(("Samples", f"{summary.n_samples:,}, of which {summary.n_labelled:,} labelled"))
    if random_state is not None:
        facts.append(("Seed", str(random_state)))
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions().items())))
    timings = tuple((shown(stage).text, f"{seconds:,.1f} s") for stage, seconds in summary.timings.items())
    folder = "RUN" if run is None else shlex.quote(str(run))
    return Making(tuple(facts), timings, f"tamis export {visible(folder)} --to csv")
