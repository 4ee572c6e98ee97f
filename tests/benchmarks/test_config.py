"""Configurations: what is read, and what every mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tamis.benchmarks import parse_config, read_config, run_detection
from tamis.benchmarks.arrays import find_array, read_array
from tamis.errors import InputError, RunError

from .conftest import CROWD, GIVEN, PLANTED, SYMMETRIC, Write


def test_paths_count_from_the_file_and_take_variables(
    write: Write, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_TEST_ARRAYS", str(arrays))
    path = write([GIVEN | {"labels": "$TAMIS_TEST_ARRAYS/y.npz:labels"}], peers=["peer.py:f"])
    monkeypatch.chdir(arrays.parent)
    config = read_config(path.relative_to(arrays.parent))
    assert config.data[0].features == str(arrays / "X.npy")
    assert config.data[0].labels == str(arrays / "y.npz") + ":labels"
    assert config.peers == (f"{arrays / 'peer.py'}:f",)
    # The same file by another way is the same configuration.
    assert config.digest() == read_config(path).digest()


def test_names_of_noise_tell_options_apart() -> None:
    options = {"convention": "include_true"}
    noises = [SYMMETRIC, SYMMETRIC | {"options": options}]
    config = parse_config({"data": [PLANTED], "noise": noises})
    assert [noise.name for noise in config.noise] == [
        "symmetric 0.2",
        "symmetric 0.2 convention=include_true",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "data: Field required"),
        ({"data": []}, "data: "),
        ({"data": [GIVEN], "nonsense": 1}, "nonsense: Extra inputs"),
        ({"data": [GIVEN | {"nonsense": 1}]}, "data.0.nonsense"),
        ({"data": [GIVEN, GIVEN]}, "data names must differ; toy"),
        ({"data": [PLANTED]}, "has no labels"),
        ({"data": [PLANTED], "noise": [SYMMETRIC, SYMMETRIC]}, "noises must differ; symmetric 0.2"),
        ({"data": [PLANTED], "noise": [{"model": "symmetric", "rate": 1.5}]}, "noise.0.rate"),
        ({"data": [GIVEN], "seeds": []}, "seeds"),
        ({"data": [GIVEN], "seeds": [1, 1]}, "seeds must differ"),
        ({"data": [GIVEN], "seeds": [-1]}, "from 0 on"),
        ({"data": [GIVEN], "peers": ["peer.py"]}, "write file.py:function"),
        ({"data": [GIVEN], "task": "ranking"}, "task is 'ranking'"),
        ({"data": [GIVEN], "task": "training"}, "methods: Field required"),
        ({"data": [{"name": "x", "truth": "t.npy"}]}, "has no features, pred_probs or answers"),
        ({"data": [{"name": "x", "features": "x.npy", "labels": "y.npy"}]}, "either truth or is_wrong"),
        ({"data": [GIVEN | {"is_wrong": "w.npy"}]}, "either truth or is_wrong"),
        ({"data": [{"name": "x", "features": "x.npy", "is_wrong": "w.npy"}]}, "no labels"),
        ({"data": [CROWD | {"rows": 10}]}, "neither is_wrong nor rows"),
        (
            {"data": [{"name": "x", "features": "x", "labels": "y", "is_wrong": "w", "trusted": 5}]},
            "give it in place of is_wrong",
        ),
    ],
)
def test_what_a_configuration_must_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match="here: ") as caught:
        parse_config(values, name="here")
    assert message in str(caught.value)


def test_a_refused_item_is_not_said_to_be_missing() -> None:
    with pytest.raises(InputError) as caught:
        parse_config({"data": [GIVEN | {"rows": 1}]})
    assert "rows" in str(caught.value)
    assert "at least 1 item" not in str(caught.value)
    with pytest.raises(InputError, match="at least 1 item"):
        parse_config({"data": []})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = [", "is no TOML"),
        ("data = 3", "data: "),
        ("[[data]]\nname = 3", "data.0.name"),
        ('[[data]]\nname = "x"\nfeatures = "$TAMIS_NO_SUCH_NAME/x.npy"', "variable that is not set"),
        ("peers = [3]", "peers.0"),
    ],
)
def test_files_that_are_no_configuration(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "no.toml")


def test_arrays_of_every_kind(arrays: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), arrays / "t.parquet")
    assert read_array(f"{arrays}/X.npy").shape == (150, 6)
    assert read_array(f"{arrays}/y.npz:truth")[:4].tolist() == [0, 1, 2, 0]
    assert read_array(f"{arrays}/t.parquet:a").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("no.npy", "does not exist"),
        ("y.npz", "names no array"),
        ("y.npz:nothing", "has no array 'nothing'; it has is_wrong, labels, probs, truth"),
        ("bad.npz:x", "not a readable"),
        ("bad.npy", "not a NumPy array"),
        ("bad.parquet:x", "cannot be read as Parquet"),
        ("bad.txt:x", "names no array"),
    ],
)
def test_arrays_that_are_not_there(where: str, message: str, arrays: Path) -> None:
    for suffix in ("npy", "npz", "parquet", "txt"):
        (arrays / f"bad.{suffix}").write_bytes(b"something else")
    with pytest.raises(InputError) as caught:
        find_array(str(arrays / where))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detectors": ["self_confidenze"]}, "did you mean 'self_confidence'"),
        ({"detectors": ["dawid_skene"]}, "no data set has what 'dawid_skene' takes: answers"),
        ({"noise": [{"model": "symetric", "rate": 0.1}]}, "did you mean"),
        ({"noise": [SYMMETRIC | {"options.colour": 1}]}, "takes no option 'colour'"),
        ({"noise": [{"model": "semantic", "rate": 0.1}]}, "needs ontology"),
        ({"peers": ["no.py:f"]}, "is no Python file"),
        ({"peers": ["peer.py:g"]}, "has no function 'g'"),
        ({"peers": ["broken.py:f"]}, "cannot be imported"),
        ({"data": [GIVEN | {"truth": "y.npz:none"}]}, "has no array 'none'"),
        ({"data": [GIVEN | {"features": "y.npz:truth"}]}, "features has shape (150,)"),
        ({"data": [GIVEN | {"labels": "X.npy"}]}, "labels has shape (150, 6)"),
        ({"data": [GIVEN | {"truth": "crowd.npz:truth"}]}, "truth has 42 rows, labels 150"),
        ({"data": [GIVEN | {"trusted": 140}]}, "135 rows are right"),
        ({"data": [GIVEN | {"pred_probs": "narrow.npy"}]}, "give one column a class"),
        ({"data": [CROWD | {"truth": "y.npz:short"}]}, "row t belongs to task t"),
    ],
)
def test_wrong_names_are_told_before_anything_runs(
    changes: dict[str, object], message: str, write: Write, arrays: Path, tmp_path: Path
) -> None:
    (arrays / "peer.py").write_text("def f(labels): ...", encoding="utf-8")
    (arrays / "broken.py").write_text("import no_such_module_at_all", encoding="utf-8")
    np.save(arrays / "narrow.npy", np.full((150, 2), 0.5))
    with np.load(arrays / "y.npz", allow_pickle=False) as stored:
        np.savez(arrays / "y.npz", **stored, short=np.zeros(5, dtype=int))
    values = {"data": [GIVEN], "memory": False, "detectors": ["all"], **changes}
    with pytest.raises(InputError) as caught:
        run_detection(read_config(write(**values)), tmp_path / "run")
    assert message in str(caught.value)


def test_folders_that_hold_something_else(write: Write, tmp_path: Path, arrays: Path) -> None:
    config = read_config(write([GIVEN], memory=False, detectors=["self_confidence"]))
    with pytest.raises(InputError, match="other content"):
        run_detection(config, arrays)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a file"):
        run_detection(config, tmp_path / "file")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "run.json").write_text('{"command": "audit"}', encoding="utf-8")
    with pytest.raises(InputError, match="another command"):
        run_detection(config, tmp_path / "audit")
    run_detection(config, tmp_path / "run")
    other = read_config(write([GIVEN], memory=False, detectors=["confident_joint"]))
    with pytest.raises(RunError, match="another configuration"):
        run_detection(other, tmp_path / "run")
    np.save(arrays / "X.npy", np.load(arrays / "X.npy", allow_pickle=False) + 1)
    with pytest.raises(RunError, match="changed since"):
        run_detection(config, tmp_path / "run")
