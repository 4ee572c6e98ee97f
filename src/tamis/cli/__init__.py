"""The command line: one file a verb (parse, call, print), joined here, where errors become words."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from tamis.cli import audit, bench, embed, export, methods, noise, predict, quickstart, train
from tamis.errors import InputError, TamisError

if TYPE_CHECKING:
    from typing import TextIO

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class _Interrupted(Exception):  # noqa: N818 - control flow, not an error
    """Ctrl-C, under a name that no version of Typer turns into something else."""


class _Verbs(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own class of context
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None


# Plain help: the same text on every terminal.
app = typer.Typer(
    name="tamis",
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart", epilog=quickstart.EXAMPLES)(quickstart.run)
app.command("audit", epilog=audit.EXAMPLES)(audit.run)
app.command("export", epilog=export.EXAMPLES)(export.run)
app.command("train", epilog=train.EXAMPLES)(train.run)
app.command("predict", epilog=predict.EXAMPLES)(predict.run)
app.command("embed", epilog=embed.EXAMPLES)(embed.run)
app.command("methods", epilog=methods.EXAMPLES)(methods.run)
app.command("noise", epilog=noise.EXAMPLES)(noise.run)
app.command("bench", epilog=bench.EXAMPLES)(bench.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tamis {version('tamis')}")
        raise typer.Exit


@app.callback()
def _face(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the wrong labels in a data set.

    Start with `tamis quickstart`: real data, planted errors, half a minute, no network.

    Exit codes: 0 done, 1 failed while running, 2 wrong use (bad options, arguments or data).
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong use, 130 interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``tamis`` on the command line; by default that of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show must not end a finished audit.
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return _run(given)
        except BrokenPipeError:
            # The reader of our output has gone; what is left in the buffer goes nowhere, quietly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED


def _run(given: list[str]) -> int:
    try:
        app(given, prog_name="tamis")
    except SystemExit as stop:
        sys.stdout.flush()
        code = stop.code if isinstance(stop.code, int) else DONE
        if code == WRONG_USE and "--json" in given:
            # Typer has said on stderr what is wrong.
            _tell_json("wrong use of the command line; standard error says what", code)
        return code
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("TAMIS_DEBUG", "0") not in {"", "0"}:
            raise
        message, code = _in_words(error)
        return _fail(message, code, wants_json="--json" in given)
    return DONE


def _in_words(error: Exception) -> tuple[str, int]:
    """Return what to say about an error, and the exit code."""
    if isinstance(error, _Interrupted):
        return "interrupted; run the same command again to continue", INTERRUPTED
    if isinstance(error, TamisError):
        # The library speaks of arguments: "pass label= with ...".
        words = re.sub(r"\bpass (\w+)= ", lambda it: f"pass --{it[1].replace('_', '-')} ", str(error))
        return words, WRONG_USE if isinstance(error, InputError) else FAILED
    if isinstance(error, MemoryError):
        return "out of memory; give a smaller --memory-budget, for example 512MiB", FAILED
    if isinstance(error, OSError):
        return str(error), FAILED
    # Anything else is a fault of ours: still one message, with the way to the traceback.
    return f"{type(error).__name__}: {error} (a fault in tamis; TAMIS_DEBUG=1 shows where)", FAILED


def _fail(message: str, code: int, *, wants_json: bool) -> int:
    from tamis.cli.screen import Screen

    Screen(as_json=wants_json).error(message, code)
    return code


def _tell_json(message: str, code: int) -> None:
    from tamis.cli.screen import Screen

    Screen(as_json=True).result({"status": "failed", "error": message, "exit_code": code})


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from tamis.cli.screen import Screen

    Screen(as_json=True).line(f"note: {message}")
