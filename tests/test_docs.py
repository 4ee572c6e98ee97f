"""Documentation that cannot drift: Python blocks run, commands parse, generated pages are up to date."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

from tamis.cli import app
from tamis.detectors import DETECTORS
from tamis.noise.models import NOISE_MODELS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = typer.main.get_command(app)
UNFINISHED = re.compile(r"\b(TODO|FIXME|TBD|XXX)\b")


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page its text begins at."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a Markdown page."""
    found: list[Block] = []
    language: str | None = None
    start, lines = 0, page.splitlines()
    for number, line in enumerate(lines):
        if language is None and line.startswith("```"):
            language, start = line[3:].strip(), number + 1
        elif language is not None and line.rstrip() == "```":
            found.append(Block(language, "\n".join(lines[start:number]) + "\n", start + 1))
            language = None
    assert language is None, f"the block that begins at line {start} is never closed"
    return found


def commands(block: Block) -> list[list[str]]:
    """Return the `tamis` command lines of a console block, as words without the first."""
    text = block.text.replace("\\\n", " ")
    lines = (line.removeprefix("$ ").strip() for line in text.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tamis ")]


def parse(words: list[str]) -> None:
    """Parse a command line without running it; a wrong option raises."""
    if not words or words[0].startswith("-"):
        assert set(words) <= {"--version", "--help", "-h"}
        return
    verb = COMMAND.commands[words[0]]
    if not {"-h", "--help"} & set(words):
        verb.make_context(words[0], words[1:])


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what an example registers be forgotten after it: other tests look at all that is registered."""
    for registry in (DETECTORS, NOISE_MODELS):
        registry.names()  # the scan, so that what it finds stays
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "__docs__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "python":
            # Blank lines first, so that a traceback names the line of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, space)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_parse(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language in {"console", "bash", "sh"}:
            for words in commands(block):
                parse(words)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_local_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.split("#")[0]).exists(), f"{page.name}: {link}"
    assert not UNFINISHED.search(text)


def test_command_line_page_is_up_to_date() -> None:
    rendered = runpy.run_path(str(ROOT / "tools" / "cli_docs.py"))["render"]()
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == rendered, "run: python tools/cli_docs.py"


def test_contents_list_every_page() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"\S+\.md$", contents, flags=re.MULTILINE))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed, "nav in mkdocs.yml must list every page"


@pytest.mark.parametrize(
    "line", ["tamis audit x --nonsense 1", "tamis train x --metod elr", "tamis export", "tamis --nonsense"]
)
def test_checker_sees_a_wrong_command(line: str) -> None:
    (words,) = commands(Block("console", f"$ {line}\n", 1))
    with pytest.raises(Exception, match=r".*"):
        parse(words)


def test_checker_finds_blocks_and_commands() -> None:
    page = "a\n```python\nx = 1\n```\n\n```console\n$ tamis audit d \\\n    --seed 3  # why\nother\n```\n"
    python, console = blocks(page)
    assert python == Block("python", "x = 1\n", 3)
    assert commands(console) == [["audit", "d", "--seed", "3"]]
