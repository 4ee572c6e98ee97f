"""Exports of sources that can be read again: their columns, texts and pictures come along."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.exporting import export_labels

MakeRun = Callable[..., Path]


def _verdicts(ids: list[str], given: list[str]) -> list[tuple[object, ...]]:
    """Return issue rows in which the second label should be `dog` and the rest are right."""
    return [
        (name, label, "dog" if row == 1 else label, 0.1 if row == 1 else 0.9, row == 1, True, None)
        for row, (name, label) in enumerate(zip(ids, given, strict=True))
    ]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    lines = [
        "uid,text,label,given_label,stars",
        "r1,purrs,cat,x,5",
        "r2,barks,cat,y,4",
        "r3,=SUM(A1),dog,z,1",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_columns_of_a_table_come_along(make_run: MakeRun, reviews: Path) -> None:
    options = {"label": "label", "id": "uid", "text": "text"}
    rows = _verdicts(["r1", "r2", "r3"], ["cat", "cat", "dog"])
    run = make_run(rows, source=str(reviews), read_options=options)
    before = reviews.read_bytes()
    result = export_labels(run, to="parquet")
    table = pq.read_table(result.path)
    assert result.notes == ()
    assert table.column("label").to_pylist() == ["cat", "dog", "dog"]
    assert table.column("stars").to_pylist() == ["5", "4", "1"]  # CSV cells are text
    assert table.column("text").to_pylist() == ["purrs", "barks", "=SUM(A1)"]
    # The source has a column of that name itself.
    assert table.column("given_label").to_pylist() == ["cat", "cat", "dog"]
    assert table.column("source_given_label").to_pylist() == ["x", "y", "z"]
    filtered = pq.read_table(export_labels(run, to="parquet", mode="filtered").path)
    assert filtered.column("text").to_pylist() == ["purrs", "=SUM(A1)"]
    assert export_labels(run).n_dangerous_cells == 1
    assert reviews.read_bytes() == before


def test_a_source_that_changed_is_not_mixed_in(make_run: MakeRun, reviews: Path) -> None:
    options = {"label": "label", "id": "uid", "text": "text"}
    run = make_run(
        _verdicts(["r1", "r2", "r3"], ["cat", "cat", "dog"]), source=str(reviews), read_options=options
    )
    original = reviews.read_text()
    for text, message in (
        (original.replace("r2", "r9"), "has changed since the audit"),
        (original.replace("barks,cat", "barks,dog"), "has changed since the audit"),
        (original + "r4,meows,cat,w,2\n", "has changed since the audit"),
        (original.replace("uid", "key2"), "cannot be read again"),
        ("", "cannot be read again"),
    ):
        reviews.write_text(text)
        result = export_labels(run, to="parquet", force=True)
        assert message in result.notes[0]
        assert "text" not in pq.read_table(result.path).column_names
    reviews.unlink()
    assert "not a file that can be read again" in export_labels(run, to="parquet", force=True).notes[0]


def _png(colour: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((4, 4, 3), colour, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in (("cat/1.png", 10), ("cat/2.png", 20), ("dog/3.png", 30)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(colour))
    return tmp_path / "photos"


PHOTO_IDS = ["cat/1.png", "cat/2.png", "dog/3.png"]


def test_pictures_of_a_folder_come_along_as_they_are(make_run: MakeRun, photos: Path) -> None:
    import datasets

    run = make_run(_verdicts(PHOTO_IDS, ["cat", "cat", "dog"]), source=str(photos))
    data = datasets.load_from_disk(str(export_labels(run, to="hf").path))
    assert data.features["label"].names == ["cat", "dog"]
    assert list(data["label"]) == [0, 1, 1]
    assert [np.asarray(image)[0, 0, 0] for image in data["image"]] == [10, 20, 30]
    encoded = data.cast_column("image", datasets.Image(decode=False))
    assert encoded[1]["image"]["bytes"] == (photos / "cat" / "2.png").read_bytes()
    # In a table the pictures are their paths.
    table = pq.read_table(export_labels(run, to="parquet").path)
    assert table.column("id").to_pylist() == PHOTO_IDS


def test_a_picture_that_has_gone_is_null(make_run: MakeRun, photos: Path) -> None:
    import datasets

    run = make_run(_verdicts(PHOTO_IDS, ["cat", "cat", "dog"]), source=str(photos))
    secret = photos.parent / "secret.png"
    secret.write_bytes(_png(99))
    (photos / "dog" / "3.png").unlink()
    (photos / "dog" / "3.png").symlink_to(secret)
    data = datasets.load_from_disk(str(export_labels(run, to="hf").path))
    # A link out of the folder is not followed: either the row is null or the source counts as changed.
    assert "image" not in data.column_names or data[2]["image"] is None


def test_paths_of_a_manifest_stay_beside_the_pictures(make_run: MakeRun, photos: Path) -> None:
    import datasets

    given = ["cat", "cat", "dog"]
    lines = [f"{path},{label}" for path, label in zip(PHOTO_IDS, given, strict=True)]
    (photos / "list.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    run = make_run(_verdicts(["0", "1", "2"], given), source=str(photos / "list.csv"))
    data = datasets.load_from_disk(str(export_labels(run, to="hf", mode="filtered").path))
    assert list(data["source_image"]) == ["cat/1.png", "dog/3.png"]
    assert [np.asarray(image)[0, 0, 0] for image in data["image"]] == [10, 30]
    table = pq.read_table(export_labels(run, to="parquet").path)
    assert table.column("image").to_pylist() == PHOTO_IDS


def test_bytes_stay_out_of_text_formats(make_run: MakeRun, tmp_path: Path) -> None:
    import datasets

    source = tmp_path / "images.parquet"
    given = ["cat", "cat", "dog"]
    extra = [b"\x00", b"\x01", b"\x02"]
    columns = {"id": ["a", "b", "c"], "image": [_png(1), _png(2), _png(3)], "label": given, "thumb": extra}
    pq.write_table(pa.table(columns), source)
    run = make_run(_verdicts(["a", "b", "c"], given), source=str(source))
    for to in ("csv", "jsonl"):
        result = export_labels(run, to=to)
        assert b"PNG" not in result.path.read_bytes()
    data = datasets.load_from_disk(str(export_labels(run, to="hf").path))
    assert [np.asarray(image)[0, 0, 0] for image in data["image"]] == [1, 2, 3]
