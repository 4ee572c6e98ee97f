"""`tamis noise`: what it writes, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tamis.cli import main
from tamis.noise import NOISE_MODELS, annotator_pool, one_coin_confusions, symmetric

NAMES = ["car", "cat", "dog", "truck"]
N = 400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a table of texts, arrays and everything a model may need."""
    monkeypatch.chdir(tmp_path)
    rows = [f"r{row},some text {row},{NAMES[row % 4] if row % 40 else ''}" for row in range(N)]
    Path("texts.csv").write_text("\n".join(["id,text,label", *rows]), encoding="utf-8")
    np.save("y.npy", np.arange(N) % 4)
    np.save("X.npy", np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32))
    np.save("T.npy", 0.7 * np.eye(4) + 0.3 * np.roll(np.eye(4), 1, axis=1))
    np.save("E.npy", np.random.default_rng(1).normal(size=(4, 3)))
    np.save("crowd.npy", one_coin_confusions(5, 4))
    for name, value in {
        "T.json": np.eye(4).tolist(),
        "ontology.json": {"pet": ["cat", "dog"], "vehicle": {"car": {}, "truck": None}},
        "map.json": {"cat": "dog"},
        "super.json": {"cat": "pet", "dog": "pet", "car": "vehicle", "truck": "vehicle"},
        "codes.json": {"0": "3", "3": 0},
        "list.json": ["cat"],
        "unknown.json": {"cat": "whale"},
    }.items():
        Path(name).write_text(json.dumps(value), encoding="utf-8")
    return tmp_path


def _told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    code = main(["noise", *arguments, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_the_table_says_which_labels_are_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _told(["texts.csv", "--rate", "0.3", "--seed", "5", "--out", "out.parquet"], capsys)
    table = pq.read_table("out.parquet")
    assert table.column_names == ["id", "label", "true_label", "is_wrong", "is_open"]
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == [f"r{row}" for row in range(N)]
    clean = [NAMES[row % 4] if row % 40 else None for row in range(N)]
    assert [row["true_label"] for row in rows] == clean
    for row in rows:
        if row["true_label"] is None:
            assert row["label"] is row["is_wrong"] is row["is_open"] is None
        else:
            assert row["is_wrong"] == (row["label"] != row["true_label"])
    n_wrong = sum(bool(row["is_wrong"]) for row in rows)
    assert (told["n_rows"], told["n_labelled"], told["n_wrong"]) == (N, N - N // 40, n_wrong)
    assert told["realised_rate"] == pytest.approx(n_wrong / (N - N // 40))
    assert (told["nominal_rate"], told["convention"]) == (0.3, "exclude_true")
    # The same as in Python, on the labelled rows.
    codes = np.array([NAMES.index(name) for name in clean if name is not None])
    assert told["digest"] == symmetric(codes, 0.3, 4, random_state=5).digest


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (["texts.csv", "--convention", "include_true", "--exact", "global"], "symmetric"),
        (["texts.csv", "--rate", "0.45", "--exact", "per_class"], "pair_flip"),
        (["texts.csv", "--using", "map.json"], "asymmetric"),
        (["--labels", "y.npy", "--using", "codes.json"], "asymmetric"),
        (["texts.csv", "--using", "super.json", "--convention", "all"], "asymmetric_cifar100"),
        (["texts.csv", "--using", "T.npy"], "class_conditional"),
        (["--labels", "y.npy", "--using", "T.json"], "class_conditional"),
        (["--labels", "y.npy", "--features", "X.npy", "--set", "std=0.2"], "instance_dependent"),
        (["texts.csv", "--features", "X.npy", "--convention", "shared"], "instance_dependent"),
        (["texts.csv", "--features", "X.npy"], "small_cluster"),
        (["texts.csv", "--using", "ontology.json", "--set", "levels=2"], "semantic"),
        (["texts.csv", "--using", "super.json", "--convention", "tree_distance"], "semantic"),
        (["texts.csv", "--using", "E.npy", "--set", "n_partners=1"], "semantic_similarity"),
        (["--labels", "y.npy", "--set", "closed_rate=0.2", "--set", "n_foreign=300"], "open_set"),
        (["texts.csv", "--using", "crowd.npy", "--convention", "worst"], "annotator_pool"),
    ],
)
def test_every_model(
    arguments: list[str], model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _told([*arguments, "--model", model, "--out", "out.csv"], capsys)
    assert told["model"] == model
    table = pyarrow.csv.read_csv("out.csv")
    wrong = table.column("is_wrong").to_pylist()
    assert sum(bool(each) for each in wrong) == told["n_wrong"]
    labels, true = table.column("label").to_pylist(), table.column("true_label").to_pylist()
    is_open = table.column("is_open").to_pylist()
    pairs = zip(labels, true, is_open, strict=True)
    assert [bool(each) for each in wrong] == [bool(o) or given != right for given, right, o in pairs]
    if model == "asymmetric" and "map.json" in arguments:
        assert {(each["true"], each["noisy"]) for each in told["confusions"]} == {("cat", "dog")}
    if model == "asymmetric" and "codes.json" in arguments:
        assert {(each["true"], each["noisy"]) for each in told["confusions"]} == {(0, 3), (3, 0)}
    if model == "open_set":
        assert [each is not None for each in table.column("replacement").to_pylist()] == is_open
    if model == "annotator_pool":
        codes = np.array([NAMES.index(name) for name in true if name is not None and name != ""])
        assert told["digest"] == annotator_pool(codes, one_coin_confusions(5, 4)).worst().digest


def test_every_registered_model_is_tried_above() -> None:
    tried = {case[1] for case in test_every_model.pytestmark[0].args[1]}
    assert tried == set(NOISE_MODELS.names())


def test_small_cluster_keeps_the_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = _told(["texts.csv", "--features", "X.npy", "--model", "small_cluster", "--out", "o.jsonl"], capsys)
    rows = [json.loads(line) for line in Path("o.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = {row["label"] for row in rows if row["label"] is not None}
    assert len(kept) == 4 - told["details"]["n_dissolved_classes"]
    assert all(row["label"] == row["true_label"] for row in rows if not row["is_wrong"])
    assert all(row["true_label"] not in kept for row in rows if row["is_wrong"])


def test_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["noise", "texts.csv", "--model", "asymmetric", "--using", "map.json", "--rate", "0.4"]
    assert main([*arguments, "--exact", "per_class", "--out", "out.csv"]) == 0
    text = capsys.readouterr().out.replace("\u202f", " ")
    assert "asymmetric, convention: rate within the 1 source classes of a map of the user's." in text
    assert "40 wrong labels in 390 labelled rows: nominal rate 40.00 %, expected 10.26 %" in text
    assert "10 rows without a label left as they are." in text
    assert "source rate: 0.4" in text
    assert "Digest " in text
    assert [line.split() for line in text.splitlines() if line.startswith("cat")] == [
        ["cat", "dog", "40", "40.00", "%"]
    ]
    assert text.rstrip().endswith("Written out.csv")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in NOISE_MODELS.names())
    told = _told(["--list"], capsys)
    models = {each["name"]: each for each in told["models"]}
    assert set(models) == set(NOISE_MODELS.names())
    assert models["instance_dependent"]["conventions"] == ["per_class", "shared"]
    assert models["instance_dependent"]["arguments"] == ["rate", "std", "temperature"]
    assert models["semantic"]["needs"] == ["ontology"]


def test_nothing_is_overwritten_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["noise", "texts.csv", "--out", "out.csv"]
    assert main(words) == 0
    before = Path("out.csv").read_bytes()
    assert main([*words, "--seed", "1"]) == 2
    assert "out.csv exists; give another --out, or --force" in capsys.readouterr().err
    assert Path("out.csv").read_bytes() == before
    assert main([*words, "--seed", "1", "--force"]) == 0
    assert Path("out.csv").read_bytes() != before
    assert main(["noise", "texts.csv", "--out", "texts.csv", "--force"]) == 2
    assert "would modify the source" in capsys.readouterr().err
    assert sorted(path.name for path in folder.glob(".*")) == []


def test_dangerous_cells_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.csv").write_text(
        "text,label\n" + "".join(f"t{i},={i % 2}+1\n" for i in range(20)), encoding="utf-8"
    )
    assert main(["noise", "odd.csv", "--out", "out.csv"]) == 0
    assert "40 cells would run as formulas" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("texts.csv", "give --out FILE"),
        ("--out o.csv", "give SOURCE, or --labels"),
        ("texts.csv --labels y.npy --out o.csv", "not both"),
        ("--labels y.npy --id x --out o.csv", "--id name columns of SOURCE"),
        ("texts.csv --out o.txt", "must end in .csv, .parquet, .jsonl"),
        ("texts.csv --out folder.csv", "folder.csv is a folder"),
        ("images --out images/o.csv", "would modify the source images"),
        ("texts.csv --model pairflip --out o.csv", "did you mean 'pair_flip'"),
        ("texts.csv --rate 1.5 --out o.csv", "rate must be a number from 0 to 1"),
        ("texts.csv --model pair_flip --convention x --out o.csv", "it has one only"),
        ("texts.csv --convention x --out o.csv", "exclude_true, include_true"),
        ("texts.csv --using map.json --out o.csv", "leave --using out"),
        ("texts.csv --model semantic --out o.csv", "semantic needs --using FILE"),
        ("texts.csv --model semantic --using list.json --out o.csv", "hold a JSON object"),
        ("texts.csv --model semantic --using no.json --out o.csv", "cannot be read as JSON"),
        ("texts.csv --model asymmetric --using unknown.json --out o.csv", "'whale'"),
        ("texts.csv --model asymmetric_cifar100 --out o.csv", "needs --using FILE"),
        (
            "texts.csv --model asymmetric_cifar100 --using map.json --out o.csv",
            "lacks the super-class of 3 classes",
        ),
        ("texts.csv --model small_cluster --out o.csv", "give --features FILE.npy"),
        (
            "texts.csv --model class_conditional --using T.npy --rate 0.1 --out o.csv",
            "class_conditional takes no rate",
        ),
        ("texts.csv --set std --out o.csv", "is not NAME=VALUE"),
        ("texts.csv --set std=1 --out o.csv", "symmetric takes no std; it takes: exact, rate"),
        ("texts.csv --set rate=1 --out o.csv", "use --rate"),
        ("texts.csv --set n_classes=9 --out o.csv", "takes no n_classes"),
        (
            "texts.csv --model annotator_pool --using crowd.npy --convention x --out o.csv",
            "majority, worst, random",
        ),
    ],
)
def test_wrong_use(arguments: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.csv").mkdir()
    Path("images").mkdir()
    assert main(["noise", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not Path("o.csv").exists()


def test_a_pickle_is_never_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("bomb.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert main(["noise", "--labels", "bomb.npy", "--out", "o.csv"]) == 2
    assert (
        main(["noise", "texts.csv", "--model", "class_conditional", "--using", "bomb.npy", "--out", "o.csv"])
        == 2
    )
    assert "Traceback" not in capsys.readouterr().err
