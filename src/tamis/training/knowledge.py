"""What is known of the labels before training: an audit, an initial selection, the noise rate."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.auditing import Audit, audit
from tamis.detectors import DETECTORS
from tamis.errors import InputError, TamisError
from tamis.training.source import Source
from tamis.types import BoolArray, FloatArray

Selection: TypeAlias = "npt.ArrayLike | Audit | str | os.PathLike[str] | None"
"""A mask of rows, an audit, its run folder, "audit", "clipcleaner", or a detector of features by name."""

_TRUSTED = 0.5


class Knowledge:
    """Looks at the labels only when it is asked to, and once.

    Parameters
    ----------
    source : Source
    out : Path, optional
        Folder of the run; the audit's own run folder lies in it.
    given : Audit, optional
        Used instead of a new audit.
    device : str
        Of the encoder, where one is needed.
    encoder : None, str, Encoder or callable
    prompts : path or Prompts, optional
        Of the classes, for the selection "clipcleaner".
    task : {"classification", "retrieval"}
        Of the audit.
    turn : callable
        Returns a context in which the first of several processes goes before the others.
    """

    def __init__(
        self,
        source: Source,
        *,
        out: Path | None,
        given: Audit | None,
        device: str,
        encoder: object,
        prompts: object = None,
        task: str = "classification",
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._source = source
        self._out = out
        self._audit = given
        self._device = device
        self._encoder = encoder
        self._prompts = prompts
        self._task = task
        self._turn = turn
        self._failure: TamisError | None = None
        if given is not None and given.issues.num_rows != len(source.dataset):
            raise InputError(
                f"the audit is of {given.issues.num_rows:,} rows, the data have {len(source.dataset):,}; "
                "pass an audit of these data"
            )

    @property
    def audit(self) -> Audit:
        """The audit of the training data; made now if there is none yet.

        Raises
        ------
        InputError, MissingExtraError
            The data cannot be audited.
        """
        if self._failure is not None:
            raise self._failure
        if self._audit is None:
            try:
                self._audit = self._found("label_score") or self._made()
            except TamisError as error:
                self._failure = error
                raise
        return self._audit

    @property
    def _folder(self) -> Path | None:
        return None if self._out is None else self._out / "audit"

    def _found(self, column: str) -> Audit | None:
        """Return the audit that an earlier start of this run has finished."""
        if self._folder is None or not (self._folder / "run.json").exists():
            return None
        found = _loaded(self._folder)
        if found is None or column not in found.issues.column_names:
            return None
        return found if found.issues.num_rows == len(self._source.dataset) else None

    def _made(self, *, zero_shot: bool = False) -> Audit:
        source = self._source
        if not zero_shot and source.features is not None and source.encoder is None:
            return audit(source.dataset, task=self._task, out=self._folder)
        return audit(
            source.dataset,
            task=self._task,
            encoder=self._encoder,  # type: ignore[arg-type]  # checked by the audit
            device=self._device,
            zero_shot=zero_shot,
            prompts=self._prompts if zero_shot else None,  # type: ignore[arg-type]
            out=self._folder,
        )

    def known_label_scores(self) -> FloatArray | None:
        """Return the probability that each given label is right, (n,), where an audit is there already.

        Rows that it did not assess get the mean of the others. None without an audit: none is made for this.
        """
        if self._audit is None:
            return None
        column = self._audit.issues.column("label_score").to_numpy(zero_copy_only=False)
        scores = np.asarray(column, dtype=np.float64)
        is_known = ~np.isnan(scores)
        return np.where(is_known, scores, scores[is_known].mean()) if is_known.any() else None

    def noise_rate(self) -> float:
        """Return the audit's estimate of the share of wrong labels.

        Raises
        ------
        InputError
            The audit could not tell.
        """
        with self._turn():
            rate = self.audit.summary.noise_rate
        if rate is None:
            raise InputError(
                "the noise rate cannot be estimated from these data; pass it, e.g. params={'noise_rate': 0.2}"
            )
        return float(rate.estimate)

    def selection(self, wanted: Selection) -> BoolArray | None:
        """Return the mask of an initial selection, (n,) bool; None for none.

        Raises
        ------
        InputError
            It is of other data, or nothing it could be.
        """
        if wanted is None:
            return None
        if isinstance(wanted, Audit):
            self._audit = self._audit or wanted
            return self._right(wanted)
        if isinstance(wanted, str | os.PathLike):
            with self._turn():
                return self._named(wanted)
        mask = np.asarray(wanted)
        n = len(self._source.dataset)
        if mask.dtype != np.bool_ or mask.shape != (n,):
            raise InputError(
                f"initial_selection has type {mask.dtype} and shape {mask.shape}; expected a mask of {n:,} "
                "bool, an audit, its run folder, 'audit', 'clipcleaner', or the name of a detector"
            )
        return mask

    def _named(self, wanted: str | os.PathLike[str]) -> BoolArray:
        if wanted == "audit":
            return self._right(self.audit)
        if wanted == "clipcleaner":
            return self._zero_shot()
        if Path(wanted).is_dir():
            found = Audit.load(wanted)
            mask = self._right(found)
            self._audit = self._audit or found
            return mask
        return self._detected(str(wanted))

    def _zero_shot(self) -> BoolArray:
        # Of the data as they are: prompts are compared with images, not with features of another encoder.
        self._audit = self._found("clipcleaner") or self._made(zero_shot=True)
        return np.asarray(self._audit.issues.column("clipcleaner").to_numpy(zero_copy_only=False) >= _TRUSTED)

    def _right(self, found: Audit) -> BoolArray:
        n = len(self._source.dataset)
        if found.issues.num_rows != n:
            raise InputError(
                f"initial_selection is an audit of {found.issues.num_rows:,} rows, the data have {n:,}"
            )
        scores = found.issues.column("label_score").to_numpy(zero_copy_only=False)
        # NaN (not assessed) compares as False: what nobody looked at is not trusted.
        return np.asarray(scores >= _TRUSTED)

    def _detected(self, name: str) -> BoolArray:
        entry = DETECTORS.entry(name)
        source = self._source
        if entry.facts.inputs != ("features",) or source.features is None:
            raise InputError(
                f"initial_selection {name!r} needs {', '.join(entry.facts.inputs)}, and the run has "
                f"{source.kind}; detectors of features serve here, or pass a mask or an audit"
            )
        usable = np.flatnonzero(source.is_usable & (source.labels >= 0))
        make: Callable[[], object] = entry.target
        detector = make().fit(np.asarray(source.features[usable]), source.labels[usable])  # type: ignore[attr-defined]
        flagged = getattr(detector, "is_issue_", None)
        if flagged is None:
            # Only a ranking: as many are set aside as the audit holds for wrong.
            scores = np.asarray(detector.clean_scores_)
            n_wrong = round(self.noise_rate() * len(scores))
            flagged = np.zeros(len(scores), dtype=np.bool_)
            flagged[np.argsort(scores, kind="stable")[:n_wrong]] = True
        mask = np.zeros(len(source.dataset), dtype=np.bool_)
        mask[usable] = ~np.asarray(flagged)
        return mask


def _loaded(folder: Path) -> Audit | None:
    try:
        return Audit.load(folder)
    except TamisError:
        # Unfinished or damaged: made again.
        return None
