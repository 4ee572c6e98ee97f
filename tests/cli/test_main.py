"""The command line: what it parses, prints, and which exit code an error gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import tamis.auditing
from tamis.cli import app, main
from tamis.cli.options import default_run
from tamis.cli.screen import Column, Screen
from tamis.errors import InputError, MissingExtraError, RunError
from tamis.issues.summary import AuditSummary
from tamis.types import Estimate

VERBS = ("quickstart", "audit", "export")
HOSTILE = "\x1b[31m[bold]cat[/bold]\u202e\n"


def _fake_audit(path: Path | None = Path("runs/x"), **changes: object) -> SimpleNamespace:
    """Return something that looks like a finished audit of four rows."""
    facts: dict[str, object] = {
        "n_samples": 4,
        "n_labelled": 4,
        "n_assessed": 3,
        "n_flagged": 1,
        "class_names": ("cat", "dog"),
        "expected_wrong": Estimate(1.2, 0.8, 1.9),
        "noise_rate": Estimate(0.4, 0.3, 0.6),
        "flag_threshold": 0.5,
        "flag_precision": Estimate(0.9, 0.8, 0.95),
        "precision_at": {1: Estimate(0.98, 0.9, 1.0)},
        "issue_counts": {"label": 1, "outlier": 2, "ambiguous": 0},
        "not_assessed": {"class too small": 1},
        "notes": ("probabilities were renormalised",),
        "timings": {"total": 1.5},
    }
    rows = {
        "id": ["b.png", HOSTILE, "c"],
        "given_label": ["cat", HOSTILE, None],
        "suggested_label": ["dog", "cat", None],
        "label_score": [0.02, 0.4, None],
        "rank": [0, 1, None],
    }
    summary = AuditSummary(**(facts | changes))
    return SimpleNamespace(
        summary=summary, path=path, merges=None, splits=None, ranked=lambda n: pa.table(rows).slice(0, n)
    )


Capture = Callable[..., dict[str, object]]


@pytest.fixture
def fake_audit(monkeypatch: pytest.MonkeyPatch) -> Capture:
    """Return a function that replaces `tamis.auditing.audit` and returns what it will be called with."""

    def install(error: BaseException | None = None, **changes: object) -> dict[str, object]:
        called: dict[str, object] = {}

        def audit(data: object = None, **arguments: object) -> SimpleNamespace:
            called.update(arguments, data=data)
            if error is not None:
                raise error
            return _fake_audit(**changes)

        monkeypatch.setattr(tamis.auditing, "audit", audit)
        return called

    return install


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    front = capsys.readouterr().out
    for verb in VERBS:
        assert f"  {verb} " in front
        assert main([verb, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"Examples:\n    tamis {verb}" in text
        assert "--json" in text


def test_every_option_has_a_help_text() -> None:
    import typer.main

    for name, command in typer.main.get_command(app).commands.items():
        for param in command.params:
            assert param.help, f"{name} {param.name}"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tamis ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["audit", "x", "--seed", "three"],
        ["audit", "--limit-print", "-1", "x"],
        ["audit"],
        ["audit", "--labels", "y.npy"],
        ["audit", "--features", "x.npy"],
        ["audit", "--pred-probs", "p.npy", "--labels", "y.npy", "--text", "body"],
        ["export"],
        ["export", "nowhere"],
        ["export", "nowhere", "--mode", "fixed"],
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err
    assert "Traceback" not in printed.err
    assert main([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("probs row 17 sums to 7.3"), 2, "tamis: probs row 17 sums to 7.3"),
        (RunError("runs/x is locked"), 1, "tamis: runs/x is locked"),
        (MissingExtraError('pip install "tamis[images]"'), 1, 'tamis: pip install "tamis[images]"'),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (MemoryError(), 1, "out of memory; give a smaller --memory-budget"),
        (ZeroDivisionError("oops"), 1, "ZeroDivisionError: oops (a fault in tamis; TAMIS_DEBUG=1"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
        (InputError(f"class {HOSTILE}"), 2, "class ⟨U+001B⟩[31m[bold]cat[/bold]⟨U+202E⟩"),
    ],
)
def test_errors_are_one_message_and_a_code(
    error: BaseException, code: int, message: str, fake_audit: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_audit(error)
    assert main(["audit", "x"]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert main(["audit", "x", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["exit_code"]) == ("failed", code)


def test_debugging_shows_the_traceback(fake_audit: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_audit(InputError("bad"))
    monkeypatch.setenv("TAMIS_DEBUG", "1")
    with pytest.raises(InputError, match="bad"):
        main(["audit", "x"])


def test_audit_passes_every_option(fake_audit: Capture, tmp_path: Path) -> None:
    called = fake_audit()
    np.save(tmp_path / "p.npy", np.full((4, 2), 0.5))
    columns = [
        word for name in ("label", "image", "text", "id", "split", "group") for word in (f"--{name}", name[0])
    ]
    words = ["audit", "data.csv", *columns, "--encoder", "e", "--task", "classification", "--seed", "7"]
    words += ["--memory-budget", "64MiB", "--device", "cpu", "--out", "runs/y", "--out-of-sample"]
    words += ["--zero-shot", "--prompts", "p.json", "--format", "cifar_n"]
    words += ["--item", "task", "--worker", "who"]
    assert main([*words, "--pred-probs", str(tmp_path / "p.npy")]) == 0
    np.testing.assert_array_equal(called.pop("pred_probs"), np.full((4, 2), 0.5))
    assert called == {
        "data": "data.csv",
        "features": None,
        "labels": None,
        "task": "classification",
        "encoder": "e",
        "out_of_sample": True,
        "memory_budget": "64MiB",
        "random_state": 7,
        "out": Path("runs/y"),
        "device": "cpu",
        "zero_shot": True,
        "prompts": Path("p.json"),
        "read_options": {"label": "l", "image": "i", "text": "t", "id": "i", "split": "s", "group": "g"}
        | {"format": "cifar_n", "item": "task", "worker": "who"},
    }


def test_audit_defaults(fake_audit: Capture) -> None:
    called = fake_audit()
    assert main(["audit", "photos/"]) == 0
    assert called["out"] == Path("runs/audit-photos")
    assert called["out_of_sample"] is None
    assert called["read_options"] == {}
    assert (called["zero_shot"], called["prompts"]) == (False, None)
    assert (called["random_state"], called["memory_budget"], called["encoder"]) == (0, "2GiB", None)


def test_audit_prints_what_matters(fake_audit: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    fake_audit()
    assert main(["audit", "x"]) == 0
    text = capsys.readouterr().out.replace("\u202f", " ")
    assert "3 labels assessed in 4 rows" in text
    assert "About 1.2 are probably wrong (95 % interval 0.8 to 1.9, 40 %)" in text
    assert "1 flagged; 90 % of them expected wrong (80 % to 95 %)" in text
    assert "Not assessed: class too small 1" in text
    assert "outlier 2" in text
    assert "ambiguous" not in text
    assert "probabilities were renormalised" in text
    assert text.rstrip().endswith("tamis export runs/x --to csv")
    # The two rows with a score, and not the third; hostile names as plain visible text.
    assert "The 2 most suspicious labels" in text
    assert "⟨U+001B⟩[31m[bold]cat[/bold]⟨U+202E⟩" in text
    assert "\x1b" not in text


def test_audit_says_what_cannot_be_known(fake_audit: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    fake_audit(expected_wrong=None, noise_rate=None, flag_precision=None, n_flagged=0, path=None)
    assert main(["audit", "x"]) == 0
    text = capsys.readouterr().out
    assert "cannot be known" in text
    assert "0 flagged." in text
    assert "tamis export" not in text


def test_json_is_the_last_line_of_stdout(fake_audit: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    fake_audit(flag_threshold=float("nan"))
    assert main(["audit", "x", "--json", "--limit-print", "2"]) == 0
    printed = capsys.readouterr()
    assert "most suspicious" in printed.err
    (line,) = printed.out.splitlines()
    found = json.loads(line)
    assert found["expected_wrong"] == {"estimate": 1.2, "low": 0.8, "high": 1.9}
    assert found["worst"][1]["id"] == HOSTILE
    assert found["flag_threshold"] is None
    assert found["next"] == "tamis export runs/x --to csv"


def test_long_names_do_not_cut_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column("rank", is_number=True), Column("id"), Column("given is right", is_number=True)]
    Screen(as_json=False).table(columns, [["1", "x" * 500, "2 %"]])
    heading, row, *rest = capsys.readouterr().out.splitlines()
    assert heading.split() == ["rank", "id", "given", "is", "right"]
    assert row.split()[0] == "1"
    assert row.split()[-2:] == ["2", "%"]
    assert sum(line.count("x") for line in [row, *rest]) == 500


def test_limit_print_zero(fake_audit: Capture, capsys: pytest.CaptureFixture[str]) -> None:
    fake_audit()
    assert main(["audit", "x", "--limit-print", "0"]) == 0
    assert "suspicious" not in capsys.readouterr().out


def test_warnings_are_one_line(
    fake_audit: Capture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import warnings

    def warn(data: object = None, **arguments: object) -> SimpleNamespace:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("columns look permuted", tamis.TamisWarning, stacklevel=1)
        return _fake_audit()

    monkeypatch.setattr(tamis.auditing, "audit", warn)
    assert main(["audit", "x"]) == 0
    assert capsys.readouterr().err == "note: columns look permuted\n"


def test_a_closed_pipe_is_quiet() -> None:
    # The reader is gone before the first line is written.
    code = "import sys; from tamis.cli import main; sys.stdin.read(); sys.exit(main(['audit', '--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdin is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""


def test_a_terminal_that_cannot_show_a_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tamis.cli import main; main(['export', 'caf\\u00e9\\u732b'])"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=False,
    )
    assert b"caf\\xe9\\u732b holds no run.json" in done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos/", "audit-photos"),
        ("a/b/reviews.csv", "audit-reviews"),
        ("wild name;$(x).csv", "audit-wild-name-x"),
        ("..", None),
        ("...", "audit-data"),
    ],
)
def test_default_run(
    name: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert default_run(name) == Path("runs") / (expected or "audit-outer")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    arguments = ["audit", "--features", str(tmp_path / "bomb.npy"), "--labels", str(tmp_path / "bomb.npy")]
    assert main(arguments) == 2
    assert not (tmp_path / "executed").exists()


def test_table_sets_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False).table([Column("n", is_number=True), Column("name")], [["1", "a"], ["100", "[b]"]])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "  n  name",
        "  1  a",
        "100  [b]",
    ]
