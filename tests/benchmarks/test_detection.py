"""Whole benchmarks: what is written, what a killed one leaves, what the command says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tamis.benchmarks import parse_config, read_config, run_detection
from tamis.benchmarks.detection import settings
from tamis.benchmarks.material import gather
from tamis.benchmarks.table import detection_table
from tamis.benchmarks.trial import run_trial
from tamis.cli import main
from tamis.crowd.answers import Answers
from tamis.crowd.dawid_skene import dawid_skene
from tamis.detectors import DETECTORS, RelativeMahalanobis
from tamis.metrics.ranking import average_precision

from .conftest import CROWD, GIVEN, PLANTED, SYMMETRIC, Write

PEER = """
import pathlib

def right(labels, features):
    return {"clean_scores": features[:, 0], "is_issue": labels == 0}

def fails(labels):
    with pathlib.Path(__file__).with_name("asked").open("a") as file:
        file.write("x")
    raise ArithmeticError("nothing | works")

def wrong_shape(labels):
    return {"clean_scores": [1.0]}

def no_scores(labels):
    return [1.0]
"""


def steady(rows):
    """Return rows without what differs from run to run."""
    return [{key: value for key, value in row.items() if key not in {"cpu", "added_mb"}} for row in rows]


def test_figures_are_those_of_the_detector_alone(write: Write, tmp_path: Path) -> None:
    path = write([PLANTED], noise=[SYMMETRIC], seeds=[5], detectors=["relative_mahalanobis"], memory=False)
    config = read_config(path)
    (row,) = run_detection(config, tmp_path / "run").rows
    made = gather(*next(settings(config)))
    scores = RelativeMahalanobis().fit(made.inputs["features"], made.labels).clean_scores_
    assert row["ap"] == pytest.approx(average_precision(scores, made.is_wrong))
    assert row["realised_rate"] == pytest.approx(made.is_wrong.mean())
    assert (row["outcome"], row["rows"], row["seed"], row["nominal_rate"]) == ("done", 150, 5, 0.2)
    assert row["ap"] > 0.8
    written = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert written["rows"] == [row]
    assert written["machine"]["cores"] >= 1


@pytest.mark.slow
def test_every_detector_has_a_row(write: Write, tmp_path: Path) -> None:
    crowd = CROWD | {"features": "crowd_x.npy"}
    rng = np.random.default_rng(0)
    np.save(
        write([GIVEN]).parent / "crowd_x.npy", np.eye(3)[np.arange(42) % 3] * 3 + rng.normal(size=(42, 3))
    )
    second = GIVEN | {"second_features": "X.npy", "trusted": 30}
    rows = run_detection(read_config(write([second, crowd], memory=False)), tmp_path / "run").rows
    found = {row["candidate"]: row for row in rows if row["data"] == "toy"}
    crowds = {row["candidate"]: row for row in rows if row["data"] == "crowd"}
    assert {*found, *crowds} == {"audit", *DETECTORS.names()} - {"clipcleaner"}
    for name in ("audit", "dawid_skene", "majority_vote", "one_coin", "crowdlab"):
        assert crowds[name]["suggested_right"] > 0.6, crowds[name]
        assert crowds[name]["rows"] == crowds["audit"]["rows"] == 36
    for name, row in found.items():
        assert row["outcome"] == "done", row
        if name != "mismatched_pairs":
            assert row["ap"] > 0.2, row
    assert found["audit"]["ap"] > 0.8


def test_crowd_figures_by_another_way(write: Write, tmp_path: Path, arrays: Path) -> None:
    (row,) = run_detection(
        read_config(write([CROWD], detectors=["dawid_skene"], memory=False)), tmp_path / "r"
    ).rows
    with np.load(arrays / "crowd.npz", allow_pickle=False) as stored:
        labels = dawid_skene(Answers.from_arrays(stored["task"], stored["worker"], stored["label"])).labels
        truth = stored["truth"][1:41]
    assert row["suggested_right"] == pytest.approx((labels == truth)[truth >= 0].mean())


def test_a_candidate_that_fails_has_a_row_and_is_tried_again(
    write: Write, arrays: Path, tmp_path: Path
) -> None:
    (arrays / "peer.py").write_text(PEER, encoding="utf-8")
    peers = [f"peer.py:{name}" for name in ("right", "fails", "wrong_shape", "no_scores")]
    config = read_config(write([GIVEN], peers=peers, detectors=["self_confidence"], memory=False))
    for times in (1, 2):
        bench = run_detection(config, tmp_path / "run")
        rows = {row["candidate"]: row for row in bench.rows}
        assert (arrays / "asked").read_text() == "x" * times
    assert rows["right"]["is_peer"]
    assert rows["right"]["outcome"] == "done"
    assert rows["fails"]["error"] == "ArithmeticError: nothing | works"
    assert "expected (150,)" in rows["wrong_shape"]["error"]
    assert "mapping with clean_scores" in rows["no_scores"]["error"]
    table = (bench.folder / "table.md").read_text(encoding="utf-8")
    assert "| fails | ArithmeticError: nothing \\| works |  |" in table
    # A peer whose file has changed is measured again.
    (arrays / "peer.py").write_text(
        PEER.replace("raise", "return {'clean_scores': labels}; raise"), encoding="utf-8"
    )
    from tamis.benchmarks.candidates import _peer_function

    _peer_function.cache_clear()
    rows = {row["candidate"]: row for row in run_detection(config, tmp_path / "run").rows}
    assert rows["fails"]["outcome"] == "done"


def test_a_damaged_or_deleted_trial_is_repeated_and_no_other(write: Write, tmp_path: Path) -> None:
    config = read_config(
        write(
            [PLANTED],
            noise=[SYMMETRIC],
            seeds=[0, 1],
            memory=False,
            detectors=["self_confidence", "confident_joint"],
        )
    )
    expected = run_detection(config, tmp_path / "run").rows
    trials = sorted((tmp_path / "run" / "trials").iterdir())
    assert len(trials) == 4
    assert trials[0].name.startswith("confident_joint-planted-symmetric_0.2-seed0-")
    (tmp_path / "run" / "trials" / ".left.tmp.json").write_text("{", encoding="utf-8")
    trials[0].write_text('{"candidate": "confi', encoding="utf-8")
    trials[1].write_text("{}", encoding="utf-8")
    trials[2].unlink()
    kept = trials[3].stat().st_mtime_ns
    again = run_detection(config, tmp_path / "run").rows
    assert steady(again) == steady(expected)
    assert trials[3].stat().st_mtime_ns == kept
    assert sorted((tmp_path / "run" / "trials").iterdir()) == trials


@pytest.mark.slow  # a process imports everything
def test_own_process_measures_memory(arrays: Path, write: Write) -> None:
    (arrays / "peer.py").write_text(
        "import numpy as np\n"
        "def big(labels):\n    x = np.ones(10_000_000)\n    return {'clean_scores': x[: len(labels)]}\n"
        "def small(labels):\n    return {'clean_scores': labels * 1.0}\n"
        "def dies(labels):\n    import os\n    os._exit(7)\n",
        encoding="utf-8",
    )
    config = read_config(write([GIVEN], peers=["peer.py:big", "peer.py:small", "peer.py:dies"]))
    material = gather(*next(settings(config)))
    big, small, dies = (run_trial(peer, material) for peer in config.peers)
    if big["added_mb"] is not None:  # Linux
        assert 79 < big["added_mb"] < 95
        assert small["added_mb"] < 10
    assert dies == {"outcome": "failed", "error": "the process ended with code 7"}
    shared = run_trial(config.peers[1], material, own_process=False)
    assert steady([shared]) == steady([small])


def test_table_by_hand() -> None:
    config = parse_config(
        {
            "data": [{"name": "d", "features": "x", "truth": "t", "note": "Seen.", "trusted": 9}],
            "noise": [SYMMETRIC],
        }
    )
    row = {"data": "d", "noise": "symmetric 0.2", "rows": 1500, "nominal_rate": 0.2, "realised_rate": 0.21}
    rows = [
        row | {"candidate": "a", "ap": 0.5, "cpu": 1.0, "added_mb": None},
        row | {"candidate": "a", "ap": 0.7, "cpu": 3.0, "added_mb": None, "realised_rate": 0.19},
        row | {"candidate": "b", "ap": 0.9, "f1": 0.25, "cpu": 0.04, "added_mb": 12.6},
        row | {"candidate": "c", "error": "two\nlines"},
    ]
    expected = [
        "### d, symmetric 0.2",
        "",
        "1,500 rows; nominal rate 20.0%, realised rate 20.0%, 2 seeds (mean, standard deviation). Seen. "
        "Detectors that take trusted rows are told of 9 right ones, which do not count in their figures.",
        "",
        "| method | AP | AUROC | F1 at flag | ECE | suggestion right | CPU s | added MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| b | 0.900 | - | 0.250 | - | - | 0.04 | 13 |",
        "| a | 0.600 (0.141) | - | - | - | - | 2.00 | - |",
        "| c | two lines |  |  |  |  |  |  |",
        "",
        "",
    ]
    assert detection_table(config, rows).split("\n") == expected


def test_the_command_prints_the_table_and_json(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write([GIVEN], memory=False, detectors=["self_confidence"])
    assert main(["bench", str(path), "--out", str(tmp_path / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["n_trials"], told["n_refused"], told["n_failed"]) == (1, 0, 0)
    assert "| self_confidence | " in printed.err
    assert main(["bench", str(tmp_path / "no.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "run" / "run.json").write_text('{"command": "bench", "config_digest": "x"}', encoding="utf-8")
    assert main(["bench", str(path), "--out", str(tmp_path / "run")]) == 1
    assert "another configuration" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_continues_to_the_same_rows(
    sent: signal.Signals, write: Write, arrays: Path, tmp_path: Path
) -> None:
    (arrays / "peer.py").write_text(
        "import os, pathlib, time\n"
        "def slow(labels):\n"
        "    here = pathlib.Path(__file__).parent\n"
        "    (here / f'slow-{os.getpid()}').touch()\n"
        "    while not (here / 'go').exists(): time.sleep(0.01)\n"
        "    return {'clean_scores': -1.0 * labels}\n",
        encoding="utf-8",
    )
    path = write([GIVEN], detectors=["self_confidence"], peers=["peer.py:slow"])
    out = tmp_path / "run"
    command = [sys.executable, "-m", "tamis", "bench", str(path), "--out", str(out)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        end = time.monotonic() + 60
        while not (begun := list(arrays.glob("slow-*"))) and time.monotonic() < end:
            time.sleep(0.01)
        assert begun
        if sent is signal.SIGINT:
            os.killpg(process.pid, sent)  # as a terminal does
        else:
            process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    if sent is signal.SIGINT:
        assert process.returncode == 130
        assert errors == "tamis: interrupted; run the same command again to continue\n"
    assert [trial.name.partition("-")[0] for trial in (out / "trials").iterdir()] == ["self_confidence"]
    assert not (out / "table.md").exists()
    # The trial's own process ends with the benchmark.
    child = int(begun[0].name.partition("-")[2])
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.01)
    (arrays / "go").touch()
    config = read_config(path)
    resumed = run_detection(config, out).rows
    assert steady(resumed) == steady(run_detection(config, tmp_path / "whole").rows)
    assert {entry.name for entry in out.iterdir()} == {"run.json", "results.json", "table.md", "trials"}
