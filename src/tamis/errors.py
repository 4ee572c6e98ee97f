"""Every exception and warning of the package.

TamisError
├── InputError (ValueError)            an argument or the data cannot be used as they are
├── NotFittedError (sklearn's)         an estimator was asked for results before ``fit``
├── MissingExtraError (ImportError)    an optional dependency is not installed
└── RunError (RuntimeError)            a run folder is locked, damaged or belongs to other input

TamisWarning (UserWarning)             results stand, but something deserves a look
"""

from __future__ import annotations

from typing import TYPE_CHECKING


class TamisError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(TamisError, ValueError):
    """An argument or the data cannot be used as they are; the message says what to do."""


class MissingExtraError(TamisError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class RunError(TamisError, RuntimeError):
    """A run folder is in use, damaged, or was made from other input."""


class TamisWarning(UserWarning):
    """Results stand, but something deserves a look."""


if TYPE_CHECKING:

    class NotFittedError(TamisError, ValueError, AttributeError):
        """Results were asked for before ``fit``; also a ``sklearn.exceptions.NotFittedError``."""


def __getattr__(name: str) -> type[TamisError]:
    # Made on first use: importing scikit-learn takes longer than all of `tamis --help`.
    if name != "NotFittedError":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sklearn.exceptions

    bases = (TamisError, sklearn.exceptions.NotFittedError)
    text = {"__doc__": "Results were asked for before ``fit``.", "__module__": __name__}
    globals()[name] = made = type(name, bases, text)
    return made
