"""Tables of the benchmark of metric learning: candidates in rows, planted noise in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tamis.benchmarks.retrieval.config import (
    UNTRAINED,
    RetrievalConfig,
    RetrievalDataConfig,
    RetrievalNoiseConfig,
)
from tamis.benchmarks.retrieval.fitting import RANKS
from tamis.benchmarks.retrieval.plan import candidates, is_applicable
from tamis.benchmarks.spread import mean_and_spread, mean_of, short_error, values_of
from tamis.benchmarks.trial import DONE, Row


def retrieval_table(config: RetrievalConfig, rows: Sequence[Row]) -> str:
    """Return Markdown: of every data set quality, gain over the baseline, the filter, and the rest."""
    return "\n".join(_Block(config, data, rows).text() for data in config.data)


def baseline_of(config: RetrievalConfig, data: RetrievalDataConfig) -> str | None:
    """Return the name of the candidate that others are compared with; None where it is not run."""
    titles = [each.title for each in candidates(config, data) if each.method != UNTRAINED]
    if config.baseline:
        return config.baseline if config.baseline in titles else None
    return titles[0] if titles else None


@dataclass(frozen=True)
class _Block:
    """The tables of one data set."""

    config: RetrievalConfig
    data: RetrievalDataConfig
    rows: Sequence[Row]

    def text(self) -> str:
        """Return everything about the data set."""
        parts = [
            f"### {self.data.name}",
            self._facts(),
            self._quality(),
            self._gains(),
            self._filters(),
            self._details(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def _titles(self) -> list[str]:
        return [each.title for each in candidates(self.config, self.data)]

    def _trials(self, title: str, noise: RetrievalNoiseConfig) -> list[Row]:
        """Return the rows of a candidate; what is not trained has the same with every noise."""
        return [
            row
            for row in self.rows
            if (row["data"], row["candidate"]) == (self.data.name, title)
            and row["noise"] in (noise.name, None)
        ]

    def _done(self, title: str, noise: RetrievalNoiseConfig) -> list[Row]:
        return [row for row in self._trials(title, noise) if row["outcome"] == DONE]

    def _facts(self) -> str:
        own = [row for row in self.rows if row["data"] == self.data.name and "rows" in row]
        if not own:
            return f"No training has come to its end. {self.data.note}".rstrip()
        some, seeds = own[0], len({row["seed"] for row in own})
        wanted = len(self.config.seeds)
        text = (
            f"{some['rows']:,} training rows of {some['classes']:,} classes, {some['test_rows']:,} test rows "
            f"of {some['test_classes']:,} others, each looked for among the other rows; guessing has P@1 "
            f"{100 * float(some['chance'] or 0):.1f} %. {self.data.epochs or self.config.epochs} epochs, "
            f"{seeds} seed{'' if seeds == 1 else 's'}{'' if seeds == wanted else f' of {wanted}'}."
        )
        rates = [
            self._rate(noise, [row for row in own if row["noise"] == noise.name])
            for noise in self.config.noise
        ]
        text += f" Wrong labels: {'; '.join(rate for rate in rates if rate)}."
        missing = [each.title for each in self.config.methods if not is_applicable(each, self.data)]
        if missing:
            text += f" Not for these inputs: {'; '.join(missing)}."
        return f"{text} {self.data.note}".rstrip()

    def _rate(self, noise: RetrievalNoiseConfig, own: Sequence[Row]) -> str:
        rate = mean_of(values_of(own, "realised_rate"))
        if rate is None:
            return ""
        told = "" if noise.filter_rate is None else f" (filters are told {noise.filter_rate:.0%})"
        return f"{noise.name} {rate:.1%}{told}"

    def _quality(self) -> str:
        """P@1 and MAP@R, last epoch."""
        cells = [("P@1", noise, "last") for noise in self.config.noise]
        cells += [("MAP@R", noise, "map_at_r") for noise in self.config.noise]
        lines = {title: [self._share(title, noise, key) for _, noise, key in cells] for title in self._titles}
        return _markdown(["method", *(f"{what}, {noise.name}" for what, noise, _ in cells)], lines)

    def _share(self, title: str, noise: RetrievalNoiseConfig, key: str) -> str:
        tried, done = self._trials(title, noise), self._done(title, noise)
        if tried and not done:
            return short_error(tried[0])
        lost = (
            f" ({len(tried) - len(done)} of {len(tried)} without a result)" if len(done) < len(tried) else ""
        )
        return mean_and_spread([100 * value for value in values_of(done, key)], ".1f") + lost

    def _gains(self) -> str:
        """Points of P@1 above the baseline, with the same seeds, and where they are below."""
        baseline = baseline_of(self.config, self.data)
        others = [title for title in self._titles if title != baseline]
        if baseline is None or not others:
            return ""
        found = {
            title: [self._pairs(title, baseline, noise) for noise in self.config.noise] for title in others
        }
        lines = {title: [mean_and_spread(each, "+.1f") for each in cells] for title, cells in found.items()}
        text = f"Points of P@1 above “{baseline}”, seed by seed:\n\n"
        text += _markdown(["method", *(noise.name for noise in self.config.noise)], lines)
        untrained = {each.title for each in self.config.methods if each.method == UNTRAINED}
        losing = [
            f"{title} with {noise.name} ({mean:+.1f})"
            for title, cells in found.items()
            if title not in untrained
            for noise, each in zip(self.config.noise, cells, strict=True)
            if (mean := mean_of(each)) is not None and mean < 0
        ]
        return f"{text}\n\nBelow “{baseline}”: {'; '.join(losing) or 'nothing'}."

    def _pairs(self, title: str, baseline: str, noise: RetrievalNoiseConfig) -> list[float]:
        one = {row["seed"]: values_of([row], "last") for row in self._done(title, noise)}
        other = {row["seed"]: values_of([row], "last") for row in self._done(baseline, noise)}
        if None in one:
            one = dict.fromkeys(other, one[None])
        return [100 * (one[seed][0] - other[seed][0]) for seed in other if seed in one]

    def _filters(self) -> str:
        """Precision, recall and share of what filters drop."""
        lines = {}
        for title in self._titles:
            done = [self._done(title, noise) for noise in self.config.noise]
            if any(values_of(each, "filter_dropped") for each in done):
                lines[title] = [_filter_cell(each) for each in done]
        if not lines:
            return ""
        heading = (
            "Filters, second half of the training: share of what is dropped that is wrong / share of what is "
            "wrong that is dropped (share of all that is dropped), %:"
        )
        return f"{heading}\n\n{_markdown(['method', *(noise.name for noise in self.config.noise)], lines)}"

    def _details(self) -> str:
        """One line a candidate and noise."""
        columns: list[tuple[str, Callable[[Sequence[Row]], str]]] = [
            *((f"R@{k}", _percent(f"recall_at_{k}")) for k in RANKS),
            ("R-precision", _percent("r_precision")),
            ("(best test epoch: P@1)", lambda done: f"({_percent('best')(done)})"),
            ("AP of verdict", lambda done: mean_and_spread(values_of(done, "ap"), ".3f")),
            ("seconds", lambda done: mean_and_spread(values_of(done, "seconds"), ".0f", with_spread=False)),
            ("CPU s", lambda done: mean_and_spread(values_of(done, "cpu"), ".0f", with_spread=False)),
        ]
        lines = []
        for noise in self.config.noise:
            for title in self._titles:
                done = self._done(title, noise)
                if done and done[0]["noise"] is not None:
                    lines.append([title, noise.name, *(form(done) for _, form in columns)])
        if not lines:
            return ""
        return _rows(["method", "noise", *(heading for heading, _ in columns)], lines)


def _percent(key: str) -> Callable[[Sequence[Row]], str]:
    return lambda done: mean_and_spread([100 * value for value in values_of(done, key)], ".1f")


def _filter_cell(done: Sequence[Row]) -> str:
    dropped = mean_of(values_of(done, "filter_dropped"))
    if dropped is None:
        return "-"
    return f"{_percent('filter_precision')(done)} / {_percent('filter_recall')(done)} ({100 * dropped:.1f})"


def _markdown(headings: Sequence[str], lines: dict[str, list[str]]) -> str:
    return _rows(headings, [[title, *cells] for title, cells in lines.items()])


def _rows(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    text = f"| {' | '.join(headings)} |\n{'| --- ' * len(headings)}|\n"
    return text + "".join(f"| {' | '.join(line)} |\n" for line in lines).rstrip("\n")
