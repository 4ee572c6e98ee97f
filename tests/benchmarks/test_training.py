"""Benchmarks of training methods: what is chosen, what is written, and that it is what `tamis.train` does."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

import tamis
from tamis.benchmarks import TrainingConfig, parse_config, read_config, run_training
from tamis.benchmarks.arrays import find_array, read_array
from tamis.benchmarks.outcomes import Result
from tamis.benchmarks.training import bench as bench_module
from tamis.benchmarks.training.config import MethodConfig
from tamis.benchmarks.training.fitting import Fit
from tamis.benchmarks.training.material import gather_training, split_rows
from tamis.benchmarks.training.plan import Task, Trial, chosen_rate, due, n_trials, name_of, tasks
from tamis.benchmarks.training.table import training_table
from tamis.benchmarks.training.work import run_trial
from tamis.cli import main
from tamis.errors import InputError, RunError
from tamis.noise import symmetric

SYMMETRIC = {"model": "symmetric", "rate": 0.3}
DATA = {
    "name": "toy",
    "features": "x.npy",
    "truth": "y.npy",
    "test_features": "tx.npy",
    "test_labels": "ty.npy",
}
CE = {"method": "cross_entropy", "backbone": "linear"}
BASE = {
    "task": "training",
    "epochs": 3,
    "lr": [0.02, 0.1],
    "recipe": {"batch_size": 32},
    "device": "cpu",
    "audit": False,
    "data": [DATA],
    "noise": [SYMMETRIC],
    "methods": [CE],
}


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with blobs of three classes and tiny pictures of them, and work in it."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(3, 6))
    for name, n in (("", 200), ("t", 90)):
        y = np.arange(n) % 3
        x = (centres[y] + rng.normal(size=(n, 6))).astype(np.float32)
        pictures = np.clip(60 * y[:, None, None] + rng.integers(0, 60, (n, 12, 12)), 0, 255)
        np.save(tmp_path / f"{name}x.npy", x)
        np.save(tmp_path / f"{name}y.npy", y)
        np.save(tmp_path / f"{name}i.npy", pictures.astype(np.uint8))
    np.save(
        tmp_path / "given.npy", np.where(np.arange(200) < 40, (np.arange(200) + 1) % 3, np.arange(200) % 3)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(**changes: object) -> TrainingConfig:
    made = parse_config({**BASE, **changes})
    assert isinstance(made, TrainingConfig)
    return made


def only_task(made: TrainingConfig) -> Task:
    (task,) = tasks(made)
    return task


def steady(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in {"seconds", "cpu"}} for row in rows]


def test_a_trial_is_what_tamis_train_does(arrays: Path) -> None:
    made = config(epochs=4, methods=[{"method": "elr", "backbone": "mlp"}])
    task = only_task(made)
    material = gather_training(task.data, task.noise, 5, made.validation)
    fitted = Fit(made, Trial(task, made.methods[0], 0.1, 5), material, None).run()
    model = tamis.train(
        features=material.features,
        labels=material.train.given,
        class_names=[0, 1, 2],
        method="elr",
        backbone="mlp",
        epochs=4,
        params={"batch_size": 32, "lr": 0.1},
        random_state=5,
        audit=False,
        device="cpu",
        test=(np.load("tx.npy"), np.load("ty.npy")),
    )
    assert fitted.curves["test"] == [record["test_accuracy"] for record in model.history]
    np.testing.assert_allclose(fitted.curves["loss"], [record["loss"] for record in model.history])
    wrong = material.train.is_wrong
    guesses = model.predict(material.features)
    assert fitted.figures["fitted"] == pytest.approx((guesses == material.train.given)[wrong].mean())


def test_figures_and_choice_by_hand(arrays: Path) -> None:
    made = config(
        seeds=[3, 4], methods=[{**CE, "name": "CE"}, {"method": "co_teaching", "backbone": "linear"}]
    )
    task = only_task(made)
    assert n_trials(made) == (2 + 1) + (2 + 1 + 2)
    done: dict[str, dict[str, object]] = {}
    first = due(made, task, done)
    assert [(each.method.method, each.lr, each.seed) for each in first] == [
        (method, lr, 3) for method in ("cross_entropy", "co_teaching") for lr in (0.02, 0.1)
    ]
    for trial, share in zip(first, (0.5, 0.7, 0.6, 0.6), strict=True):
        done[name_of(made, trial)] = {"outcome": "done", "validation": share}
    assert chosen_rate(made, first[:2], done) == 0.1
    assert chosen_rate(made, first[2:], done) == 0.02  # of equals the lowest
    last = due(made, task, done)
    assert [(each.method.method, each.lr, each.seed, each.is_oracle) for each in last] == [
        ("cross_entropy", 0.1, 4, False),
        ("co_teaching", 0.02, 4, False),
        ("co_teaching", 0.02, 3, True),
        ("co_teaching", 0.02, 4, True),
    ]
    # A diverged rate is not chosen; where all diverge there is nothing more to run.
    done[name_of(made, first[1])] = {"outcome": "diverged", "error": "inf"}
    assert chosen_rate(made, first[:2], done) == 0.02
    done[name_of(made, first[0])] = {"outcome": "diverged", "error": "inf"}
    assert chosen_rate(made, first[:2], done) is None
    assert [each.method.method for each in due(made, task, done)] == ["co_teaching"] * 3


def test_material_holds_out_noisy_rows_of_every_class(arrays: Path) -> None:
    task = only_task(config())
    made = gather_training(task.data, task.noise, 2, 0.25)
    expected = symmetric(np.load("y.npy"), 0.3, n_classes=3, random_state=2)
    rows, held = split_rows(expected.labels, 0.25)
    assert sorted([*rows, *held]) == list(range(200))
    np.testing.assert_array_equal(made.train.given, expected.labels[rows])
    np.testing.assert_array_equal(made.held.given, expected.labels[held])
    np.testing.assert_allclose(
        np.bincount(made.held.given), np.bincount(expected.labels) / 4, atol=0.5 + 1e-9
    )
    assert made.held.is_wrong.mean() > 0.1
    assert not made.test.is_wrong.any()
    assert made.realised_rate == pytest.approx(expected.is_wrong[rows].mean())
    inputs = made.train.inputs.double()
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose((inputs**2).sum(1).mean(), 16, rtol=1e-5)
    with pytest.raises(InputError, match="leaves no rows"):
        split_rows(np.array([0, 1]), 0.1)


def test_whole_run_resumes_grows_and_is_the_same(arrays: Path) -> None:
    methods = [CE, {**CE, "name": "true", "true_labels": True}, {"method": "eac"}]
    made = config(seeds=[0, 1], methods=methods)
    bench = run_training(made, arrays / "run")
    trials = sorted((arrays / "run" / "trials").iterdir())
    assert len(trials) == 6
    found = {(row["candidate"], row.get("seed")): row for row in bench.rows}
    assert found["eac", None]["error"] == "not applicable: needs pixels"
    row = found["cross_entropy", 0]
    assert row["outcome"] == "done"
    assert row["realised_rate"] == pytest.approx(0.3, abs=0.1)
    assert row["nominal_rate"] == 0.3
    assert 0.6 < row["last"] <= row["peak"]
    assert row["ap"] > 0.7
    assert "ap" not in found["true", 0]
    told = json.loads(trials[0].read_text())
    assert {len(curve) for curve in told["curves"].values()} == {3}
    written = json.loads((arrays / "run" / "results.json").read_text(encoding="utf-8"))
    assert (written["n_done"], written["n_trials"], len(written["rates_tried"])) == (6, 6, 4)
    table = (arrays / "run" / "table.md").read_text(encoding="utf-8")
    assert "nominal noise rate 30.0%, realised" in table
    assert "| eac | not applicable: needs pixels |" in table
    assert (arrays / "run" / "curves-toy_symmetric_0.3.png").stat().st_size > 5_000
    # A deleted and a damaged trial are repeated, the others kept; more seeds and methods may come.
    trials[0].unlink()
    trials[1].write_text("{", encoding="utf-8")
    kept = trials[2].stat().st_mtime_ns
    again = run_training(made, arrays / "run")
    assert steady(again.rows) == steady(bench.rows)
    assert trials[2].stat().st_mtime_ns == kept
    grown = run_training(config(seeds=[0, 1, 2], methods=methods), arrays / "run")
    assert trials[2].stat().st_mtime_ns == kept
    assert len(list((arrays / "run" / "trials").iterdir())) == 8
    assert len(grown.rows) == 7
    np.save("x.npy", np.load("x.npy") + 1)
    with pytest.raises(RunError, match="changed since"):
        run_training(made, arrays / "run")


def test_a_stopped_run_has_its_table_and_curves(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Trial] = []

    def stop_at_the_second(made: TrainingConfig, trial: Trial, audits: Path) -> Result:
        ran.append(trial)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run_trial(made, trial, audits)

    made = config(lr=[0.1], seeds=[0, 1])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(bench_module, "run_trial", stop_at_the_second)
        run_training(made, arrays / "run")
    assert len(list((arrays / "run" / "trials").iterdir())) == 1
    assert "cross_entropy" in (arrays / "run" / "table.md").read_text(encoding="utf-8")
    assert (arrays / "run" / "curves-toy_symmetric_0.3.png").stat().st_size > 5_000
    resumed, whole = run_training(made, arrays / "run"), run_training(made, arrays / "whole")
    assert steady(resumed.rows) == steady(whole.rows)


@pytest.mark.slow  # two processes import everything
def test_results_do_not_depend_on_the_number_of_workers(arrays: Path) -> None:
    methods = [CE, {"method": "gce", "backbone": "mlp"}]
    one = run_training(config(methods=methods), arrays / "one")
    two = run_training(config(methods=methods, workers=2), arrays / "two")
    assert steady(one.rows) == steady(two.rows)
    assert config(workers=2).digest() == config().digest()


def test_the_audit_is_made_once_and_tells_the_rate(arrays: Path) -> None:
    methods = [{"method": "co_teaching", "backbone": "linear"}, {**CE, "initial_selection": "audit"}]
    data = [{**DATA, "labels": "given.npy"}]
    made = config(audit=True, lr=[0.1], data=data, noise=[], methods=methods, seeds=[0, 1])
    rows = {
        (row["candidate"], row["seed"], row["is_oracle"]): row
        for row in run_training(made, arrays / "r").rows
    }
    (facts,) = (arrays / "r" / "audits").glob("*.json")
    row = rows["co_teaching", 0, False]
    told = json.loads(facts.read_text(encoding="utf-8"))
    assert row["audit_noise_rate"] == told["noise_rate"] < 0.5
    assert row["audit_ap"] == told["ap"] > 0.7
    assert row["ap_with_audit"] > 0.7
    assert rows["co_teaching", 1, True]["outcome"] == "done"
    assert rows["cross_entropy", 0, False]["outcome"] == "done"
    assert "| oracle rate: last epoch |" in (arrays / "r" / "table.md").read_text(encoding="utf-8")


def test_pictures_in_every_form(arrays: Path) -> None:
    data = {
        "name": "pictures",
        "images": "i.npy",
        "truth": "y.npy",
        "test_images": "ti.npy",
        "test_labels": "ty.npy",
        "augmentation": "none",
    }
    task = only_task(config(data=[data]))
    grey = gather_training(task.data, task.noise, 0, 0.1)
    assert grey.train.inputs.shape[1:] == (3, 12, 12)
    colour = np.repeat(np.load("i.npy")[..., None], 3, axis=3)
    np.save("colour.npy", colour)
    for suffix, pack in (("-ubyte", bytes), ("-ubyte.gz", gzip.compress)):
        content = struct.pack(">4B3I", 0, 0, 8, 3, 200, 12, 12) + np.load("i.npy").tobytes()
        (arrays / f"pictures-idx3{suffix}").write_bytes(pack(content))
    for name in ("colour.npy", "pictures-idx3-ubyte", "pictures-idx3-ubyte.gz"):
        other = only_task(config(data=[{**data, "images": name}]))
        found = gather_training(other.data, other.noise, 0, 0.1)
        assert (found.train.inputs == grey.train.inputs).all()
    made = config(data=[data], lr=[0.05], methods=[{"method": "cross_entropy"}, {"method": "eac"}])
    rows = run_training(made, arrays / "run").rows
    assert [row["outcome"] for row in rows] == ["done", "done"]


def test_a_column_of_image_files(arrays: Path) -> None:
    import io

    import PIL.Image
    import pyarrow as pa
    import pyarrow.parquet as pq

    def png(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, format="png")
        return buffer.getvalue()

    pq.write_table(pa.table({"image": [png(each) for each in np.load("i.npy")]}), arrays / "i.parquet")
    data = {"name": "p", "truth": "y.npy", "test_images": "ti.npy", "test_labels": "ty.npy"}
    parts = []
    for images in ("i.npy", "i.parquet:image"):
        task = only_task(config(data=[{**data, "images": images}]))
        parts.append(gather_training(task.data, task.noise, 0, 0.1).train.inputs)
    assert (parts[0] == parts[1]).all()


def test_idx_files_that_are_none(arrays: Path) -> None:
    for name, content, said in (
        ("a-ubyte", b"\0\0\x08", "no IDX file"),
        ("b-ubyte", b"\0\0\x0d\x01\0\0\0\1", "no IDX file"),
        ("c-ubyte", b"\0\0\x08\x03\0\0\0\1", "cut off in its header"),
        ("d-ubyte", b"\0\0\x08\x01\0\0\0\7abc", "cut off or too large"),
        ("e-ubyte", b"\0\0\x08\x01\xff\xff\xff\xff", "cut off or too large"),
        ("f-ubyte.gz", b"no gzip", "cannot be read"),
    ):
        (arrays / name).write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_array(str(arrays / name))
    with pytest.raises(InputError, match="cannot be opened"):
        find_array("missing-ubyte")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": []}, "lr"),
        ({"lr": [0.1, 0.1]}, "learning rates must differ"),
        ({"lr": [-1.0, 0.1]}, "not above 0"),
        ({"noise": []}, "has no labels"),
        ({"methods": [CE, CE]}, "names of methods must differ"),
        ({"methods": [{**CE, "lr": [0.1]}]}, "1 learning rates to choose from, the others 2"),
        ({"methods": [{**CE, "params": {"lr": 0.1}}]}, "take it out of params"),
        ({"methods": [{**CE, "plugin_params": {"k": 1}}]}, "exactly one plug-in"),
        ({"recipe": {"epochs": 3}}, "stand at the top"),
        ({"data": [{**DATA, "images": "i.npy"}]}, "either features or images"),
        ({"data": [{**DATA, "test_features": None, "test_images": "ti.npy"}]}, "what the training part has"),
        ({"data": [{**DATA, "methods": ["none"]}]}, "names no candidate 'none'"),
        ({"seeds": [-1]}, "from 0 on"),
        ({"validation": 0.9}, "validation"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_configurations_that_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": [{"method": "gcee"}]}, "did you mean"),
        ({"methods": [{**CE, "params": {"batchsize": 3}}]}, "did you mean 'batch_size'"),
        ({"methods": [{**CE, "plugins": ["nothing"]}]}, "unknown plug-in"),
        ({"methods": [{**CE, "backbone": "lineer"}]}, "did you mean 'linear'"),
        ({"methods": [{**CE, "backbone": "small_cnn"}]}, "takes image, the data hold features"),
        ({"recipe": {"optimizer": "nothing"}}, "optimizer"),
        ({"data": [{**DATA, "features": "none.npy"}]}, "does not exist"),
        ({"noise": [{"model": "symetric", "rate": 0.1}]}, "did you mean"),
    ],
)
def test_wrong_names_are_told_before_anything_runs(
    arrays: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run_training(config(**changes), arrays / "run")
    assert not (arrays / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": "y.npy"}, r"features has shape \(200,\)"),
        ({"truth": "x.npy"}, "truth has shape"),
        ({"truth": "ty.npy"}, "numbers of rows differ"),
        ({"test_labels": "y.npy"}, "numbers of test_rows differ"),
    ],
)
def test_arrays_that_do_not_fit(arrays: Path, changes: dict[str, object], said: str) -> None:
    task = only_task(config(data=[{**DATA, **changes}]))
    with pytest.raises(InputError, match=said):
        gather_training(task.data, task.noise, 0, 0.1)
    row = run_trial(config(data=[{**DATA, **changes}]), Trial(task, MethodConfig(**CE), 0.1, 0), arrays)
    assert row["outcome"] == "refused"


def test_noise_that_changes_the_classes(arrays: Path) -> None:
    task = only_task(config(noise=[{"model": "open_set", "rate": 0.3}]))
    with pytest.raises(InputError, match="changes the set of classes"):
        gather_training(task.data, task.noise, 0, 0.1)


def test_a_training_that_diverges_has_a_row(arrays: Path) -> None:
    made = config(methods=[{**CE, "backbone": "mlp", "params": {"weight_decay": 1e30}}])
    (row,) = run_training(made, arrays / "run").rows
    assert row["outcome"] == "diverged"
    assert "diverged" in (arrays / "run" / "table.md").read_text(encoding="utf-8")


def test_table_by_hand() -> None:
    made = config(methods=[{**CE, "name": "a"}, {**CE, "name": "b"}, {**CE, "name": "c"}], seeds=[0, 1])
    row = {"data": "toy", "noise": "symmetric 0.3", "outcome": "done", "lr": 0.1, "nominal_rate": 0.3}
    row |= {"rows": 1500, "held_rows": 150, "test_rows": 90, "realised_rate": 0.25, "audit_ap": 0.5}
    figures = {"best": 0.7, "peak": 0.9, "fitted": 0.25, "ap": 0.5, "seconds": 3.4}
    rows = [
        {**row, "candidate": "a", "seed": 0, "last": 0.5, **figures},
        {**row, "candidate": "a", "seed": 1, "last": 0.7, **figures},
        {**row, "candidate": "a", "seed": 0, "last": 0.75, "is_oracle": True},
        {**row, "candidate": "b", "seed": 0, "last": 0.8},
        {**row, "candidate": "b", "seed": 1, "outcome": "refused", "error": "no"},
    ]
    lines = training_table(made, rows).split("\n")
    assert lines[0] == "### toy, symmetric 0.3"
    assert lines[2] == (
        "1,500 training rows, 150 held out with labels as noisy, 90 test rows; nominal noise rate 30.0%, "
        "realised 25.0%; 3 epochs, 2 seeds; AP of the audit alone 0.500."
    )
    assert lines[6] == (
        "| b | 0.1 | 80.0 (1 of 2 seeds ended without a result) | - | (-) | - | - | - | - | - |"
    )
    assert lines[7] == (
        "| a | 0.1 | 60.0 ± 14.1 | 70.0 ± 0.0 | (90.0 ± 0.0) | 25.0 ± 0.0 | 75.0 | 0.500 ± 0.000 | - | 3 |"
    )
    assert lines[9] == "Not yet run: c."


def test_the_command(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['task = "training"', "epochs = 2", "lr = [0.1]", "audit = false", 'device = "cpu"', "[[data]]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in {**DATA, "labels": "given.npy"}.items()]
    lines += ["[[methods]]", *(f"{key} = {json.dumps(value)}" for key, value in CE.items())]
    path = arrays / "bench.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert isinstance(read_config(path), TrainingConfig)
    assert main(["bench", str(path), "--out", str(arrays / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["n_trials"], told["n_failed"]) == (1, 0)
    assert "| cross_entropy | 0.1 |" in printed.err


@pytest.mark.parametrize("name", ["features", "pixels", "rates", "grid", "gpu", "smoke"])
def test_the_configurations_name_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tamis.benchmarks.training.bench import check_methods

    for variable in ("TAMIS_SHARED", "TAMIS_FASHION_MNIST", "TAMIS_BENCH_ARRAYS"):
        monkeypatch.setenv(variable, "somewhere")
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    made = read_config(folder / f"training_{name}.toml")
    assert isinstance(made, TrainingConfig)
    check_methods(made)
