"""Write docs/cli.md from the command line itself: python tools/cli_docs.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer.main

from tamis.cli import app

if TYPE_CHECKING:
    import click

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """# Command line

This page is written by `python tools/cli_docs.py` from the commands themselves; do not edit it.

Every command ends by naming the next one, prints `--help` with examples, and with `--json` prints one JSON
object as the last line of standard output (words then go to standard error). Progress goes to standard error
and only to a terminal.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed while running: a damaged run folder, a missing extra, a full disk |
| 2 | wrong use: an option, an argument or data that cannot be used as they are |
| 130 | interrupted with Ctrl-C; the same command run again continues |

| variable | effect |
|---|---|
| `TAMIS_DEBUG=1` | show the traceback of an error |
| `TAMIS_PROGRESS=0` | no progress bars |
| `TAMIS_CACHE` | folder of cached features; by default `tamis` in the user's cache folder |
"""


def render() -> str:
    """Return the page."""
    group = typer.main.get_command(app)
    verbs = [_verb(name, command) for name, command in group.commands.items()]  # type: ignore[attr-defined]
    return "\n".join([HEAD, *verbs])


def _verb(name: str, command: click.Command) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    usage = " ".join(f"[{_metavar(each)}]" if not each.required else _metavar(each) for each in arguments)
    help_text = "\n".join(line.strip() for line in (command.help or "").splitlines())
    examples = (command.epilog or "").replace("\b", "").replace("Examples:", "").strip()
    lines = [
        f"## tamis {name}",
        "",
        f"`tamis {name} {usage}".rstrip() + " [options]`",
        "",
        help_text.strip(),
        "",
    ]
    lines += ["```console", *(line.strip() for line in examples.splitlines()), "```", ""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{_metavar(each)}` | {_default(each)} | {_cell(each.help or '')} |" for each in arguments]
    lines += [
        f"| `{', '.join(each.opts)}` | {_default(each)} | {_cell(each.help or '')} |" for each in options
    ]
    return "\n".join(lines) + "\n"


def _metavar(argument: click.Parameter) -> str:
    return str(argument.metavar or argument.name or "").upper()


def _default(param: click.Parameter) -> str:
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return _cell(shown)
    if param.required:
        return "required"
    if getattr(param, "is_flag", False):
        return "off"
    if param.default is None:
        return ""
    return f"`{param.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
