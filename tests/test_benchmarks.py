"""The benchmark scripts: their own arithmetic, and each of them once on a tiny input."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = (
    "cifar10n",
    "confident_learning",
    "crowd",
    "detection_page",
    "image_folder",
    "large",
    "mixture",
    "news20",
    "prepare",
    "variety",
)

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a module of the benchmarks as a script would see it, and forget it afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    ours = [
        name for name, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))
    ]
    for name in ours:
        del sys.modules[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name: str, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(name).main(["--help"])
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_page_names_every_script(name: str) -> None:
    page = (FOLDER.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert f"benchmarks/{name}.py" in page


def run_python(load: Load, code: str) -> object:
    return load("measuring").measure([sys.executable, "-c", textwrap.dedent(code)])


def test_measure_sees_private_memory_and_output(load: Load) -> None:
    measured = run_python(load, "import time\nx = b'1' * 100_000_000\ntime.sleep(0.3)\nprint('done')")
    assert measured.stdout == "done\n"
    assert 100 < measured.private_mb < 140
    assert measured.private_mb <= measured.peak_mb < 160
    assert measured.wall > 0.3


def test_measure_leaves_mapped_files_out_of_private_memory(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1" * 100_000_000)
    code = f"""
        import mmap, time
        with open({str(path)!r}, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            print(sum(held[start] for start in range(0, len(held), 4096)))
            time.sleep(0.3)
    """
    measured = run_python(load, code)
    assert measured.peak_mb > 100
    assert measured.private_mb < 40


def test_measure_counts_children(load: Load) -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    assert run_python(load, code).cpu > 0.4


def test_measure_ends_with_the_errors_of_the_command(load: Load) -> None:
    with pytest.raises(SystemExit, match=r"exit code 3(.|\n)*what went wrong"):
        run_python(load, "import sys\nprint('what went wrong', file=sys.stderr)\nsys.exit(3)")


def test_markdown_table_by_hand(load: Load) -> None:
    results = load("results")
    columns = (results.Column("name", "data"), results.Column("ap", "AP", ".2f"))
    expected = "| data | AP |\n| --- | --- |\n| a | 0.12 |\n| b | - |\n"
    assert results.markdown(columns, [{"name": "a", "ap": 0.123, "more": 1}, {"name": "b"}]) == expected


def test_report_keeps_every_row_at_once(load: Load, tmp_path: Path) -> None:
    report = load("results").Report("trial", tmp_path / "out.json")
    for value in (1, None):
        report.add({"value": value})
        stored = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert stored["rows"] == report.rows
    assert len(report.rows) == 2
    assert stored["machine"]["cores"] >= 1


def test_judge_by_hand(load: Load) -> None:
    verdicts = load("verdicts")
    # Wrong are rows 0, 2 and 4; row 4 was not assessed and so comes last.
    is_wrong = np.array([True, False, True, False, True])
    score = np.array([0.1, 0.2, 0.3, 0.9, np.nan])
    is_flagged = np.array([True, True, False, False, False])
    found = verdicts.judge(verdicts.Verdict(score, is_flagged, np.array([0.5, 0.4, 0.6, np.nan])), is_wrong)
    assert found["ap"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert (found["precision"], found["recall"], found["flagged"]) == (0.5, pytest.approx(1 / 3), 0.4)
    assert found["f1"] == pytest.approx(2 / 5)
    assert (found["estimated"], found["low"], found["high"], found["confident_joint"]) == (
        0.5,
        0.4,
        0.6,
        None,
    )
    # Each of the four assessed rows has a bin of its own: the gaps are 0.1, 0.8, 0.3 and 0.1.
    assert found["ece"] == pytest.approx(1.3 / 4)
    assert (found["true_rate"], found["assessed"]) == (0.6, 0.8)


def test_judge_where_nothing_is_wrong(load: Load) -> None:
    verdicts = load("verdicts")
    silent = verdicts.Verdict(np.array([0.9, 1.0]), np.zeros(2, dtype=bool), np.full(4, np.nan))
    found = verdicts.judge(silent, np.zeros(2, dtype=bool))
    assert [found[name] for name in ("ap", "precision", "recall", "f1", "estimated")] == [None] * 5
    assert found["flagged"] == 0


def test_planted_labels(load: Load) -> None:
    planted = load("sources").planted
    truth = np.arange(1000) % 4
    assert not planted(truth, "clean", n_classes=4).is_wrong.any()
    pair, symmetric = (planted(truth, name, n_classes=4) for name in ("pair20", "symmetric20"))
    assert np.array_equal(pair.is_wrong, symmetric.is_wrong)
    assert 0.15 < pair.is_wrong.mean() < 0.25
    assert set((pair.given - truth)[pair.is_wrong] % 4) == {1}
    assert set((symmetric.given - truth)[symmetric.is_wrong] % 4) == {1, 2, 3}
    for labels in (pair, symmetric):
        assert np.array_equal(labels.given != truth, labels.is_wrong)
    with pytest.raises(SystemExit, match="unknown"):
        planted(truth, "other20", n_classes=4)


def test_share_within_by_hand(load: Load) -> None:
    share_within = load("news20").share_within
    scores = np.array([0.5, 0.1, 0.5, 0.9, 0.5])
    assert share_within(scores, 1).tolist() == [0, 1, 0, 0, 0]
    assert share_within(scores, 3) == pytest.approx([2 / 3, 1, 2 / 3, 0, 2 / 3])
    assert share_within(scores, 4).tolist() == [1, 1, 1, 0, 1]
    assert share_within(np.array([np.inf, 0.2, np.inf]), 2).tolist() == [0.5, 1, 0.5]


def test_bootstrap_interval(load: Load) -> None:
    interval = load("news20").interval
    assert interval(np.ones(7)) == (1, 1)
    found = np.repeat([1.0, 0.0], [64, 36])
    low, high = interval(found)
    assert (low, high) == interval(found)
    # The normal approximation for 64 of 100: 0.64 +- 1.96 * 0.048.
    assert low == pytest.approx(0.546, abs=0.02)
    assert high == pytest.approx(0.734, abs=0.02)


def test_features_of_a_longer_file_start_the_same(load: Load, tmp_path: Path) -> None:
    large = load("large")
    large.BLOCK = 100
    short, _ = large.write_features(tmp_path / "a.npy", 200, 16, 5)
    longer, right = large.write_features(tmp_path / "b.npy", 350, 16, 5)
    a, b = (np.load(tmp_path / name, allow_pickle=False) for name in ("a.npy", "b.npy"))
    assert np.array_equal(a, b[:200])
    assert np.array_equal(short, longer[:200])
    # A rule learned from the file is about as accurate as the best possible one.
    learned = LinearDiscriminantAnalysis().fit(b, longer).score(b, longer)
    assert learned == pytest.approx(right, abs=0.04)
    assert 0.8 < right < 0.99


@pytest.mark.slow
def test_large(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "large.json"
    assert load("large").main(["--rows", "400", "--columns", "8", "--classes", "4", "--out", str(out)]) == 0
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["rows"] == 400
    assert row["ap"] > 0.5
    assert 0 < row["private_mb"] <= row["peak_mb"]
    assert row["wall_per_million"] == pytest.approx(row["wall"] * 2500)
    assert "| 400 |" in capsys.readouterr().out


def test_variety(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAMIS_FASHION_MNIST", raising=False)
    out = tmp_path / "variety.json"
    options = ["--sets", "digits,fashion_mnist", "--noises", "symmetric20", "--rows", "300", "--out"]
    options.append(str(out))
    assert load("variety").main(options) == 0
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert (row["data"], row["rows"], row["classes"]) == ("digits", 300, 10)
    assert row["ap"] > 0.9
    assert row["cleanlab_ap"] > 0.5
    printed = capsys.readouterr()
    assert "| digits | 300 | 64 | 10 | symmetric20 |" in printed.out
    assert "fashion_mnist is skipped" in printed.err


def test_two_classes_have_no_pair_noise(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("variety").main(["--sets", "breast_cancer", "--noises", "pair20"]) == 0
    assert "breast_cancer" not in capsys.readouterr().out


def test_variety_refuses_an_unknown_set(load: Load) -> None:
    with pytest.raises(SystemExit):
        load("variety").main(["--sets", "digit"])


def test_fashion_mnist_files(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(90, 784), dtype=np.uint8)
    classes = np.arange(90, dtype=np.uint8) % 10
    for name, header, content in (("images-idx3", 16, pixels), ("labels-idx1", 8, classes)):
        path = tmp_path / f"train-{name}-ubyte.gz"
        path.write_bytes(gzip.compress(b"\0" * header + content.tobytes()))
    monkeypatch.setenv("TAMIS_FASHION_MNIST", str(tmp_path))
    source = load("variety").fashion_mnist()
    assert source.features.shape == (90, 64)
    assert np.array_equal(source.truth, classes)
    # 64 components hold most of the distance between two rows, and never more than all of it.
    full = np.linalg.norm(pixels[0] / 255 - pixels[1] / 255)
    assert 0.7 * full < np.linalg.norm(source.features[0] - source.features[1]) < full * 1.001


def test_missing_data_names_the_variable(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_SHARED", str(tmp_path))
    with pytest.raises(SystemExit, match="TAMIS_SHARED"):
        load("news20").main([])


def _rows(out: Path) -> list[dict[str, float]]:
    return json.loads(out.read_text(encoding="utf-8"))["rows"]


def test_confident_learning(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    options = ["--sizes", "400x4", "--tools", "tamis,tamis", "--forms", "mask", "--out", str(out)]
    assert load("confident_learning").main(options) == 0
    first, second = _rows(out)
    assert (first["rows"], first["classes"], first["dtype"]) == (400, 4, "float32")
    assert 0 < first["issues"] == second["issues"] < 400
    assert second["is_same"] == "yes"
    assert first["extra_mb"] >= 0
    assert "| 400 | 4 | float32 | mask | tamis |" in capsys.readouterr().out


@pytest.fixture
def real_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_SHARED", str(shared))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.usefixtures("real_data")
def test_cifar10n(load: Load, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert load("cifar10n").main(["--sets", "worse", "--rows", "2000", "--out", str(out)]) == 0
    ours, theirs = _rows(out)
    assert (ours["tool"], theirs["tool"]) == ("tamis", "cleanlab")
    assert ours["ap"] > theirs["ap"] > 0.4
    assert ours["true_rate"] == pytest.approx(0.402, abs=0.03)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.usefixtures("real_data")
def test_image_folder(load: Load, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert load("image_folder").main(["--images", "300", "--first", "40", "--out", str(out)]) == 0
    empty, filled = _rows(out)
    assert (empty["images"], empty["planted"]) == (300, 24)
    assert empty["found"] == filled["found"] > 12
    assert "images_per_second" not in filled


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.usefixtures("real_data")
def test_news20(load: Load, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert load("news20").main(["--only", "news20", "--out", str(out)]) == 0
    plain, audited = _rows(out)
    assert plain["recall"] == pytest.approx(66 / 82)
    assert audited["recall"] >= plain["recall"]
    assert audited["low"] < audited["recall"] < audited["high"]
