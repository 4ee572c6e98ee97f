"""Benchmarks of metric learning: the split, the filter's figures, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tamis
from tamis.benchmarks import RetrievalConfig, parse_config, read_config, run_retrieval
from tamis.benchmarks.outcomes import Result
from tamis.benchmarks.retrieval import bench as bench_module
from tamis.benchmarks.retrieval.config import RetrievalDataConfig
from tamis.benchmarks.retrieval.filter_watch import FilterWatch
from tamis.benchmarks.retrieval.fitting import RetrievalFit
from tamis.benchmarks.retrieval.material import chance, gather_retrieval, split_of, split_rows
from tamis.benchmarks.retrieval.plan import Trial, name_of, trials
from tamis.benchmarks.retrieval.table import retrieval_table
from tamis.benchmarks.retrieval.work import run_trial
from tamis.cli import main
from tamis.errors import InputError, RunError
from tamis.evaluation import retrieval_metrics
from tamis.methods import Method
from tamis.noise import small_cluster, symmetric
from tamis.selectors import RandomDrop
from tamis.selectors.selection import Selection

CLEAN = {"model": "none", "filter_rate": 0.1}
SYMMETRIC = {"model": "symmetric", "rate": 0.4}
DATA = {"name": "toy", "features": "x.npy", "truth": "y.npy"}
METRIC = {"name": "no filter", "method": "metric", "backbone": "linear"}
PRISM = {"name": "PRISM", "method": "prism", "backbone": "linear", "params": {"warmup": 0.0}}
ORACLE = {**METRIC, "name": "oracle", "filter": "oracle"}
RAW = {"method": "none"}
BASE = {
    "task": "retrieval",
    "epochs": 2,
    "recipe": {"batch_size": 32, "lr": 0.003},
    "device": "cpu",
    "precision": "32-true",
    "data": [DATA],
    "noise": [SYMMETRIC],
    "methods": [METRIC],
}


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with blobs of 16 classes in four groups, and pictures of them, and work in it."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % 16
    x = 1.5 * rng.normal(size=(16, 8))[y] + rng.normal(size=(160, 8))
    pictures = np.clip(80 * rng.random((16, 12, 12))[y] + 40 * rng.random((160, 12, 12)), 0, 255)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "g.npy", y // 4)
    np.save(tmp_path / "i.npy", pictures.astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    split_of.cache_clear()
    return tmp_path


def config(**changes: object) -> RetrievalConfig:
    made = parse_config({**BASE, **changes})
    assert isinstance(made, RetrievalConfig)
    return made


def only_trial(made: RetrievalConfig) -> Trial:
    (trial,) = trials(made)
    return trial


def steady(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in {"seconds", "cpu"}} for row in rows]


def test_a_trial_is_what_tamis_train_does(arrays: Path) -> None:
    made = config(epochs=3, methods=[{**METRIC, "params": {"memory": 64}}])
    trial = only_trial(made)._replace(seed=5)
    material = gather_retrieval(trial.data, trial.noise, 5)
    fitted = RetrievalFit(made, trial, material).run()
    raw = np.load("x.npy")
    rows, test_rows = split_rows(trial.data, np.load("y.npy"))
    model = tamis.train(
        features=raw[rows],
        labels=material.given,
        class_names=list(range(material.n_classes)),
        method="metric",
        backbone="linear",
        epochs=3,
        params={"batch_size": 32, "lr": 0.003, "memory": 64},
        random_state=5,
        audit=False,
        validation=0,
        device="cpu",
        precision="32-true",
    )
    np.testing.assert_allclose(fitted.curves["loss"], [record["loss"] for record in model.history])
    found = retrieval_metrics(model.embed(raw[test_rows]), np.load("y.npy")[test_rows], k=(1, 2, 4, 8))
    assert fitted.figures["last"] == pytest.approx(found["precision_at_1"])
    assert fitted.figures["map_at_r"] == pytest.approx(found["map_at_r"])
    assert fitted.figures["recall_at_8"] == pytest.approx(found["recall_at_8"])
    assert fitted.figures["last"] == fitted.curves["test"][-1]


def test_the_split_has_no_class_on_both_sides(arrays: Path) -> None:
    truth = np.load("y.npy")
    by_group = RetrievalDataConfig(**DATA, groups="g.npy", train_groups=[0, 2], test_groups=[3])
    rows, test_rows = split_rows(by_group, truth)
    assert set(truth[rows]) == {0, 1, 2, 3, 8, 9, 10, 11}
    assert set(truth[test_rows]) == {12, 13, 14, 15}
    drawn = RetrievalDataConfig(**DATA, train_classes=0.5, test_classes=0.25, rows_per_class=3)
    rows, test_rows = split_rows(drawn, truth)
    assert np.bincount(truth[rows]).max() == 3
    assert (len(rows), len(test_rows)) == (8 * 3, 4 * 3)
    assert not set(truth[rows]) & set(truth[test_rows])
    assert max(rows.max(), test_rows.max()) < 3 * 16  # the first of each class
    # The order of rows does not decide which classes are trained on.
    order = np.random.default_rng(1).permutation(160)
    other, _ = split_rows(drawn, truth[order])
    assert set(truth[order][other]) == set(truth[rows])


def test_material_by_hand(arrays: Path) -> None:
    data = RetrievalDataConfig(**DATA, groups="g.npy", train_groups=[1, 2], test_groups=[0, 3])
    truth = np.load("y.npy")
    rows = np.flatnonzero((truth >= 4) & (truth < 12))
    made = gather_retrieval(data, config().noise[0], 2)
    expected = symmetric(truth[rows] - 4, 0.4, n_classes=8, random_state=2)
    np.testing.assert_array_equal(made.given, expected.labels)
    np.testing.assert_array_equal(made.is_wrong, expected.is_wrong)
    assert made.filter_rate == made.realised_rate == expected.is_wrong.mean()
    np.testing.assert_allclose(made.split.inputs.double().mean(0), 0, atol=1e-6)
    np.testing.assert_array_equal(
        made.split.raw_test_inputs, np.load("x.npy")[np.setdiff1d(range(160), rows)]
    )
    (noise,) = config(noise=[{"model": "small_cluster", "rate": 0.5, "filter_rate": 0.3}]).noise
    dissolved = gather_retrieval(data, noise, 1)
    expected = small_cluster(truth[rows] - 4, np.load("x.npy")[rows], rate=0.5, random_state=1)
    np.testing.assert_array_equal(dissolved.given, expected.labels)
    assert dissolved.n_classes == 4
    assert dissolved.filter_rate == 0.3
    clean = gather_retrieval(data, config(noise=[CLEAN]).noise[0], 0)
    np.testing.assert_array_equal(clean.given, truth[rows] - 4)
    assert (clean.realised_rate, clean.filter_rate, clean.is_wrong.any()) == (0.0, 0.1, False)


def test_noise_features_of_pixels(arrays: Path) -> None:
    data = RetrievalDataConfig(name="p", images="i.npy", truth="y.npy")
    split = split_of(data)
    assert split.inputs.shape == (80, 3, 12, 12)
    pixels = split.inputs[:, 0].reshape(80, -1).double().numpy() / 255
    centred = pixels - pixels.mean(axis=0)
    # 64 of at most 80 directions: distances are nearly kept.
    assert split.noise_features.shape == (80, 64)
    products = split.noise_features @ split.noise_features.T
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(products, (u[:, :64] * s[:64] ** 2) @ u[:, :64].T, atol=1e-4)
    named = RetrievalDataConfig(name="p", images="i.npy", truth="y.npy", noise_features="x.npy")
    rows, _ = split_rows(named, np.load("y.npy"))
    np.testing.assert_array_equal(split_of(named).noise_features, np.load("x.npy")[rows])
    np.save("colour.npy", np.repeat(np.load("i.npy")[..., None], 3, axis=3))
    colour = split_of(RetrievalDataConfig(name="p", images="colour.npy", truth="y.npy"))
    assert (colour.inputs == split.inputs).all()


def test_chance_against_random_orders() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    rng = np.random.default_rng(0)
    found = [
        retrieval_metrics(rng.normal(size=(8, 64)), labels, metrics=("precision_at_1",))["precision_at_1"]
        for _ in range(200)
    ]
    assert chance(labels) == pytest.approx(float(np.mean(found)), abs=0.05)
    assert chance(labels) == pytest.approx((4 * 3 + 3 * 2) / 7 / 7)


class _Filtered(Method):
    """A method of nothing but a filter."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.selector = RandomDrop(0.5)


def test_figures_of_a_filter_by_hand() -> None:
    method = _Filtered()
    is_wrong = torch.tensor([True, False, True, False])
    watch = FilterWatch(method, is_wrong)
    keeps = {1: [True, True, True, True], 2: [False, True, True, True], 3: [False, False, True, True]}
    watch.end_epoch()  # of warm-up
    for keep in keeps.values():
        mask = torch.tensor(keep)
        selection = Selection(mask, mask.float(), mask.float())
        method.selector.commit(selection, torch.zeros(4, 2), torch.zeros(4), torch.arange(4))
        watch.end_epoch()
    assert int(method.selector.n_steps) == 3  # the filter's own commit runs
    assert watch.curves() == {
        "filter_precision": [None, None, 1.0, 0.5],
        "filter_recall": [None, 0.0, 0.5, 0.5],
    }
    assert watch.figures() == {
        "filter_precision": pytest.approx(2 / 3),
        "filter_recall": 0.5,
        "filter_dropped": 3 / 8,
    }
    none = FilterWatch(torch.nn.Module(), is_wrong)  # type: ignore[arg-type]  # a method without a filter
    none.end_epoch()
    assert (none.figures(), none.curves()) == ({}, {})


def test_whole_run_resumes_grows_and_is_the_same(arrays: Path) -> None:
    methods = [RAW, METRIC, PRISM, ORACLE]
    noise = [CLEAN, SYMMETRIC]
    made = config(methods=methods, noise=noise, seeds=[0, 1], baseline="no filter")
    bench = run_retrieval(made, arrays / "run")
    files = sorted((arrays / "run" / "trials").iterdir())
    assert len(files) == len(bench.rows) == 1 + 3 * 2 * 2
    found = {(row["candidate"], row["noise"], row["seed"]): row for row in bench.rows}
    raw = found["inputs as they are", None, None]
    _, test_rows = split_rows(made.data[0], np.load("y.npy"))
    expected = retrieval_metrics(np.load("x.npy")[test_rows], np.load("y.npy")[test_rows])
    assert raw["last"] == pytest.approx(expected["precision_at_1"])
    row = found["PRISM", "symmetric 0.4", 1]
    assert {row["outcome"] for row in bench.rows} == {"done"}
    assert 0.2 < row["filter_dropped"] < 0.6
    assert 0 < row["filter_recall"] <= 1
    assert 0.5 < row["ap"] <= 1
    assert (row["rows"], row["classes"], row["test_rows"], row["test_classes"]) == (80, 8, 80, 8)
    clean = found["PRISM", "clean", 0]
    assert clean["filter_rate"] == 0.1
    assert "ap" not in clean
    assert clean["filter_recall"] is None
    assert "filter_dropped" not in found["oracle", "symmetric 0.4", 0]
    told = json.loads((arrays / "run" / "trials" / f"{row['trial']}.json").read_text(encoding="utf-8"))
    assert {len(curve) for curve in told["curves"].values()} == {2}
    table = (arrays / "run" / "table.md").read_text(encoding="utf-8")
    assert "80 training rows of 8 classes, 80 test rows of 8 others" in table
    assert "Points of P@1 above “no filter”, seed by seed:" in table
    assert (arrays / "run" / "curves-toy_symmetric_0.4.png").stat().st_size > 5_000
    # A deleted and a damaged trial are repeated, the others kept; more seeds and methods may come.
    files[0].unlink()
    files[1].write_text("{", encoding="utf-8")
    kept = files[2].stat().st_mtime_ns
    assert steady(run_retrieval(made, arrays / "run").rows) == steady(bench.rows)
    changes = {"methods": [*methods, {**METRIC, "name": "new", "params": {"memory": 32}}], "noise": noise}
    grown = run_retrieval(config(**changes, seeds=[0, 1]), arrays / "run")
    assert files[2].stat().st_mtime_ns == kept
    assert len(grown.rows) == len(bench.rows) + 4
    np.save("x.npy", np.load("x.npy") + 1)
    with pytest.raises(RunError, match="changed since"):
        run_retrieval(made, arrays / "run")


def test_a_stopped_run_has_its_tables_and_curves(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Trial] = []

    def stop_at_the_second(made: RetrievalConfig, trial: Trial) -> Result:
        ran.append(trial)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run_trial(made, trial)

    monkeypatch.setattr(bench_module, "run_trial", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_retrieval(config(seeds=[0, 1]), arrays / "run")
    assert len(list((arrays / "run" / "trials").iterdir())) == 1
    assert "no filter" in (arrays / "run" / "table.md").read_text(encoding="utf-8")
    assert len(list((arrays / "run").glob("curves-*.png"))) == 1


@pytest.mark.slow  # two processes import everything
def test_results_do_not_depend_on_the_number_of_workers(arrays: Path) -> None:
    one = run_retrieval(config(methods=[METRIC, PRISM]), arrays / "one")
    two = run_retrieval(config(methods=[METRIC, PRISM], workers=2), arrays / "two")
    assert steady(one.rows) == steady(two.rows)
    assert config(workers=2).digest() == config().digest()


def test_names_of_trials(arrays: Path) -> None:
    made = config(methods=[RAW, METRIC], noise=[CLEAN, SYMMETRIC], seeds=[0, 1])
    names = [name_of(made, trial) for trial in trials(made)]
    assert len(names) == len(set(names)) == 1 + 2 * 2
    renamed = [{**DATA, "name": "other", "note": "said"}]
    again = config(methods=[RAW, METRIC], noise=[CLEAN, SYMMETRIC], seeds=[0, 1], data=renamed, workers=3)
    assert [name.rpartition("-")[2] for name in names] == [
        name_of(again, trial).rpartition("-")[2] for trial in trials(again)
    ]
    slower = config(recipe={"lr": 0.001}, methods=[RAW, METRIC])
    # What is not trained does not depend on the recipe.
    assert [name_of(slower, trial) in names for trial in trials(slower)] == [True, False]


def test_one_candidate_that_fails_has_a_row(arrays: Path) -> None:
    methods = [METRIC, {**METRIC, "name": "far", "params": {"weight_decay": 1e30, "optimizer": "sgd"}}]
    methods += [{"name": "refused", "method": "metric", "backbone": "linear", "params": {"per_class": 1}}]
    rows = run_retrieval(config(methods=methods), arrays / "run").rows
    assert [row["outcome"] for row in rows] == ["done", "diverged", "refused"]
    table = (arrays / "run" / "table.md").read_text(encoding="utf-8")
    assert "| refused | per_class is 1; expected at least 2 |" in table


def test_table_by_hand() -> None:
    noise = [CLEAN, {**SYMMETRIC, "label": "half"}]
    methods = [RAW, {**METRIC, "name": "a"}, {**METRIC, "name": "b"}, {**METRIC, "name": "c"}]
    made = config(methods=methods, noise=noise, seeds=[0, 1])
    row = {"data": "toy", "noise": "half", "outcome": "done", "rows": 1500, "classes": 30, "chance": 0.02}
    row |= {"test_rows": 90, "test_classes": 9, "realised_rate": 0.5, "best": 0.75, "ap": 0.5, "seconds": 3.4}
    filtered = {"filter_precision": 0.9, "filter_recall": 0.6, "filter_dropped": 0.5, "recall_at_8": 1.0}
    rows = [
        {"data": "toy", "noise": None, "candidate": RAW_NAME, "seed": None, "outcome": "done", "last": 0.4},
        {**row, "candidate": "a", "seed": 0, "last": 0.5, "map_at_r": 0.1},
        {**row, "candidate": "a", "seed": 1, "last": 0.7, "map_at_r": 0.3},
        {**row, "candidate": "b", "seed": 0, "last": 0.4, **filtered},
        {**row, "candidate": "b", "seed": 1, "last": 0.5, **filtered},
    ]
    text = retrieval_table(made, rows)
    lines = text.split("\n")
    assert lines[2] == (
        "1,500 training rows of 30 classes, 90 test rows of 9 others, each looked for among the other rows; "
        "guessing has P@1 2.0 %. 2 epochs, 2 seeds. Wrong labels: half 50.0%."
    )
    assert lines[4] == "| method | P@1, clean | P@1, half | MAP@R, clean | MAP@R, half |"
    assert lines[6] == "| inputs as they are | 40.0 | 40.0 | - | - |"
    assert lines[7] == "| a | - | 60.0 ± 14.1 | - | 20.0 ± 14.1 |"
    assert lines[9] == "| c | - | - | - | - |"
    assert "above “a”" in text
    assert "| b | - | -15.0 ± 7.1 |" in text
    assert "| inputs as they are | - | -20.0 ± 14.1 |" in text
    assert "Below “a”: b with half (-15.0)." in text
    assert "| b | - | 90.0 ± 0.0 / 60.0 ± 0.0 (50.0) |" in text
    assert "| b | half | - | - | - | 100.0 ± 0.0 | - | (75.0 ± 0.0) | 0.500 ± 0.000 | 3 | - |" in text
    assert "No training has come to its end" in retrieval_table(made, [])


RAW_NAME = "inputs as they are"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"noise": []}, "noise"),
        ({"methods": [METRIC, METRIC]}, "names of methods must differ"),
        ({"noise": [SYMMETRIC, SYMMETRIC]}, "noises must differ"),
        ({"methods": [{**METRIC, "params": {"epochs": 3}}]}, "a key of its own"),
        ({"methods": [{**METRIC, "plugin_params": {"k": 1}}]}, "exactly one plug-in"),
        ({"methods": [{**METRIC, "filter": "truth"}]}, "oracle"),
        ({"methods": [{**RAW, "params": {"lr": 0.1}}]}, "trains nothing"),
        ({"recipe": {"epochs": 3}}, "stands at the top"),
        ({"baseline": "nobody"}, "baseline names no candidate 'nobody'"),
        ({"data": [{**DATA, "methods": ["none"]}]}, "names no candidate 'none'"),
        ({"data": [{**DATA, "images": "i.npy"}]}, "either features or images"),
        ({"data": [{**DATA, "groups": "g.npy", "train_groups": [0]}]}, "come together"),
        ({"data": [{**DATA, "train_groups": [0], "test_groups": [1]}]}, "come together"),
        (
            {"data": [{**DATA, "groups": "g.npy", "train_groups": [0, 1], "test_groups": [1]}]},
            "group 1 is trained on and tested",
        ),
        ({"data": [{**DATA, "train_classes": 0.7}]}, "more than 1 together"),
        ({"noise": [{"model": "none", "rate": 0.1}]}, "neither rate nor options"),
        ({"noise": [{"model": "symmetric"}]}, "a rate above 0"),
        ({"noise": [{**SYMMETRIC, "filter_rate": 1.0}]}, "filter_rate"),
        ({"seeds": [-1]}, "from 0 on"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_configurations_that_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": [{"method": "prisn"}]}, "did you mean"),
        ({"methods": [{"method": "gce"}]}, "not for retrieval"),
        ({"methods": [{**METRIC, "params": {"memori": 3}}]}, "did you mean 'memory'"),
        ({"methods": [{**METRIC, "backbone": "small_cnn"}]}, "takes image, the data hold features"),
        ({"methods": [{**METRIC, "plugins": ["nothing"]}]}, "unknown plug-in"),
        ({"recipe": {"optimizer": "nothing"}}, "optimizer"),
        ({"data": [{**DATA, "features": "none.npy"}]}, "does not exist"),
        ({"noise": [{"model": "symetric", "rate": 0.1}]}, "did you mean"),
    ],
)
def test_wrong_names_are_told_before_anything_runs(
    arrays: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run_retrieval(config(**changes), arrays / "run")
    assert not (arrays / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": "y.npy"}, r"features has shape \(160,\)"),
        ({"truth": "x.npy"}, "truth has shape"),
        ({"rows": 20, "truth": "y.npy", "train_classes": 0.01}, "0 classes to train on"),
        ({"groups": "short.npy", "train_groups": [0], "test_groups": [1]}, "groups has 3 rows, truth 160"),
        (
            {"groups": "mixed.npy", "train_groups": [0], "test_groups": [1]},
            "rows to train on and rows to test",
        ),
        ({"noise_features": "few.npy"}, "noise_features has 2 rows, truth 160"),
        ({"features": "few.npy"}, "features has 2 rows, truth 160"),
    ],
)
def test_arrays_that_do_not_fit(arrays: Path, changes: dict[str, object], said: str) -> None:
    np.save("short.npy", np.array([0, 1, 2]))
    np.save("mixed.npy", np.arange(160) // 16 % 2)
    np.save("few.npy", np.zeros((2, 3)))
    made = config(data=[{**DATA, **changes}])
    with pytest.raises(InputError, match=said):
        gather_retrieval(made.data[0], made.noise[0], 0)
    assert run_trial(made, only_trial(made))["outcome"] == "refused"


def test_the_command_on_pictures(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['task = "retrieval"', "epochs = 1", 'device = "cpu"', 'precision = "32-true"', "[[data]]"]
    data = {"name": "p", "images": "i.npy", "truth": "y.npy", "groups": "g.npy", "flip": False}
    data |= {"train_groups": [0, 1], "test_groups": [2, 3]}
    for heading, table in (("", data), ("[[noise]]", SYMMETRIC), ("[[methods]]", {"method": "prism"})):
        lines += [heading, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = arrays / "bench.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert isinstance(read_config(path), RetrievalConfig)
    assert main(["bench", str(path), "--out", str(arrays / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["n_trials"], told["n_failed"]) == (1, 0)
    assert "| prism | " in printed.err


@pytest.mark.parametrize(
    "name",
    ["retrieval", "retrieval_settings", "retrieval_methods", "retrieval_features", "retrieval_tiny"],
)
def test_the_configurations_name_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tamis.benchmarks.planting import check_noise
    from tamis.benchmarks.retrieval.bench import check_methods

    for variable in ("TAMIS_SHARED", "TAMIS_BENCH_ARRAYS"):
        monkeypatch.setenv(variable, "somewhere")
    made = read_config(Path(__file__).resolve().parents[2] / "benchmarks" / f"{name}.toml")
    assert isinstance(made, RetrievalConfig)
    check_methods(made)
    for noise in made.noise:
        if noise.model != "none":
            check_noise(noise)


@pytest.mark.shared
def test_the_alphabets_of_both_halves_differ(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_SHARED", str(shared))
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    seen = []
    for name in ("retrieval", "retrieval_settings"):
        made = read_config(folder / f"{name}.toml")
        assert isinstance(made, RetrievalConfig)
        seen += [*made.data[0].train_groups, *made.data[0].test_groups]
        material = gather_retrieval(made.data[0], made.noise[2], 0)
        assert material.split.inputs.shape[1:] == (3, 35, 35)
        assert 0.45 < material.realised_rate < 0.55
    assert sorted(seen) == list(range(8))
