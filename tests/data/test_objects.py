"""Sources that are objects of other libraries: data frames, Arrow tables, data sets of others."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pytest
import torch

import tamis.data
from tamis.data import Unreadable
from tamis.errors import InputError

datasets = pytest.importorskip("datasets")


def picture(value: int) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (4, 3), (value, value, value))


def png(value: int) -> bytes:
    file = io.BytesIO()
    picture(value).save(file, "PNG")
    return file.getvalue()


def values(dataset):
    return [
        int(s[0, 0, 0]) if isinstance(s, np.ndarray) else s
        for s in dataset.inputs["image"].read(range(len(dataset)))
    ]


def test_data_frame():
    frame = pd.DataFrame(
        {
            "text": ["a", None, "c"],
            "label": pd.Categorical(["x", None, "y"]),
            "id": [5, 6, 7],
            "split": ["t", "t", None],
            3: [1, "mixed", 2.5],
        },
        index=[9, 9, 9],
    )
    dataset = tamis.data.read(frame)
    assert dataset.ids == ["5", "6", "7"]
    assert dataset.label_codes.tolist() == [0, -1, 1]
    assert dataset.problems == {1: "text is missing or empty"}
    assert dataset.table.column_names == ["id", "label", "split", "group"]


def test_data_frame_of_numbers_agrees_with_arrays():
    features = np.random.default_rng(0).normal(size=(5, 3))
    frame = pd.DataFrame(features, columns=["a", "b", "c"]).assign(target=[0, 1, 0, 1, 0])
    dataset = tamis.data.read(frame)
    assert (dataset.features["features"] == features).all()
    assert dataset.fingerprint() == tamis.data.from_arrays(features, [0, 1, 0, 1, 0]).fingerprint()


def test_data_frame_labels():
    read = lambda labels: tamis.data.read(pd.DataFrame({"text": ["a", "b"], "label": labels}))  # noqa: E731
    assert read([1.0, np.nan]).label_codes.tolist() == [0, -1]
    assert read([True, False]).class_names == (0, 1)
    assert read(pd.array([1, None], dtype="Int64")).class_names == (1,)
    with pytest.raises(InputError, match="mix types"):
        read([1, "a"])
    with pytest.raises(InputError, match="multilabel"):
        read([["a", "b"], ["a"]])
    with pytest.raises(InputError, match="none has a label"):
        read([None, None])


def test_data_frame_of_image_paths(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(5))
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"image": ["a.png", str(tmp_path / "a.png"), "../a.png"], "label": [0, 1, 0]})
    dataset = tamis.data.read(frame)
    assert values(dataset)[:2] == [5, 5]
    assert "outside" in dataset.problems[2]


def test_arrow_table():
    table = pa.table({"img": [png(1), png(2)], "target": ["x", "y"]})
    assert values(tamis.data.read(table)) == [1, 2]
    named = table.append_column("label", pa.array([1, 0])).drop_columns(["target"])
    named = named.replace_schema_metadata({"class_names": json.dumps(["p", "q"])})
    assert tamis.data.read(named).class_names == ("p", "q")
    assert len(tamis.data.read(table.to_batches()[0])) == 2


def image_set(n: int = 5) -> datasets.Dataset:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {
        "image": [picture(value) for value in range(n)],
        "label": [value % 2 if value else -1 for value in range(n)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_hugging_face_object():
    source = image_set()
    dataset = tamis.data.read(source)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.label_codes.tolist() == [-1, 1, 0, 1, 0]
    assert values(dataset) == [0, 1, 2, 3, 4]
    chosen = source.select([4, 2, 0, 1])
    assert values(tamis.data.read(chosen)) == [4, 2, 0, 1]
    assert (
        tamis.data.read(chosen).inputs["image"].digests() == dataset.inputs["image"].digests()[[4, 2, 0, 1]]
    ).all()


def test_hugging_face_dict():
    source = datasets.DatasetDict({"train": image_set(4), "test": image_set(3)})
    dataset = tamis.data.read(source)
    assert dataset.table.column("split").to_pylist() == ["train"] * 4 + ["test"] * 3
    assert values(dataset) == [0, 1, 2, 3, 0, 1, 2]
    assert dataset.inputs["image"].read([6, 1])[0][0, 0, 0] == 2
    assert len(dataset.inputs["image"].digests()) == 7


def test_hugging_face_texts():
    source = datasets.Dataset.from_dict({"text": ["a", None], "label": ["x", "y"], "extra": [[1], [2]]})
    dataset = tamis.data.read(source)
    assert dataset.inputs["text"].read([0]) == ["a"]
    assert dataset.problems == {1: "text is missing or empty"}


def test_hugging_face_image_folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(len(name)))
    source = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    dataset = tamis.data.read(source)
    assert dataset.class_names == ("cat", "dog")
    assert values(dataset) == [3, 3]
    by_folder = tamis.data.read({"x": np.zeros((2, 1)), "y": [0, 1]})
    assert by_folder.label_codes.tolist() == dataset.label_codes.tolist()


@pytest.mark.parametrize("shards", [1, 2])
def test_saved_folder(tmp_path, shards):
    image_set().save_to_disk(tmp_path / "d", num_shards=shards)
    dataset = tamis.data.read(tmp_path / "d")
    assert values(dataset) == [0, 1, 2, 3, 4]
    assert dataset.label_codes.tolist() == [-1, 1, 0, 1, 0]
    assert dataset.fingerprint() == tamis.data.read(image_set()).fingerprint()


def test_saved_folder_of_splits(tmp_path):
    datasets.DatasetDict({"train": image_set(4), "test": image_set(3)}).save_to_disk(tmp_path / "d")
    dataset = tamis.data.read(tmp_path / "d")
    assert dataset.class_names == ("cat", "dog")
    assert values(dataset) == [0, 1, 2, 3, 0, 1, 2]
    assert dataset.table.column("split").to_pylist() == ["train"] * 4 + ["test"] * 3


def test_hostile_saved_folders(tmp_path):
    image_set().save_to_disk(tmp_path / "other")
    image_set().save_to_disk(tmp_path / "d")
    state = tmp_path / "d" / "state.json"
    good = json.loads(state.read_text())
    for name in (
        "../other/data-00000-of-00001.arrow",
        str(tmp_path / "other" / "state.json"),
        "..",
        "",
        None,
        7,
    ):
        state.write_text(json.dumps(good | {"_data_files": [{"filename": name}]}))
        with pytest.raises(InputError, match="only files right in the folder"):
            tamis.data.read(tmp_path / "d")
    (tmp_path / "d" / "link.arrow").symlink_to(tmp_path / "other" / "data-00000-of-00001.arrow")
    for content, message in (
        (json.dumps(good | {"_data_files": [{"filename": "link.arrow"}]}), "outside"),
        (json.dumps(good | {"_data_files": [{"filename": "none.arrow"}]}), "cannot be read"),
        (json.dumps(good | {"_data_files": []}), "no data files"),
        ("[1]", "JSON object"),
        ("{", "not JSON"),
    ):
        state.write_text(content)
        with pytest.raises(InputError, match=message):
            tamis.data.read(tmp_path / "d")
    state.write_text(json.dumps(good))
    next((tmp_path / "d").glob("data*.arrow")).write_bytes(b"rubbish")
    with pytest.raises(InputError, match="cannot be read"):
        tamis.data.read(tmp_path / "d")


def test_paths_in_a_saved_folder_must_stay_inside(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(9))
    image_set(2).save_to_disk(tmp_path / "d")
    stream = next((tmp_path / "d").glob("data*.arrow"))
    schema = pa.ipc.open_stream(stream.read_bytes()).schema
    cells = [{"bytes": png(1), "path": None}, {"bytes": None, "path": str(tmp_path / "secret.png")}]
    with pa.ipc.new_stream(stream, schema) as writer:
        writer.write_table(pa.table({"image": cells, "label": [0, 1]}, schema=schema))
    samples = values(tamis.data.read(tmp_path / "d"))
    assert samples[0] == 1
    assert "outside" in samples[1].reason


def test_streams_are_refused():
    with pytest.raises(InputError, match="streams"):
        tamis.data.read(image_set().to_iterable_dataset())
    with pytest.raises(InputError, match="no splits"):
        tamis.data.read(datasets.DatasetDict({}))


class Pictures(torch.utils.data.Dataset):
    classes = ("cat", "dog")

    def __init__(self, samples, labels):
        self.samples, self.labels, self.calls = samples, labels, 0

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, row):
        self.calls += 1
        return self.samples[row], self.labels[row]


@pytest.mark.parametrize(
    "form",
    [
        picture,
        lambda value: np.full((3, 4), value, np.uint8),
        lambda value: np.full((3, 4, 3), value, np.uint8),
        lambda value: torch.full((3, 5, 4), value, dtype=torch.uint8),
        lambda value: torch.full((1, 5, 4), value / 255),
    ],
)
def test_torch_images(form):
    source = Pictures([form(value) for value in range(4)], torch.tensor([0, 1, 0, 1]))
    dataset = tamis.data.read(source)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.label_codes.tolist() == [0, 1, 0, 1]
    assert values(dataset) == [0, 1, 2, 3]
    assert len(np.unique(dataset.inputs["image"].digests(), axis=0)) == 4
    assert tamis.data.read(torch.utils.data.Subset(source, [3, 0])).class_names == ("cat", "dog")


def test_torch_targets_spare_a_pass():
    source = Pictures([picture(value) for value in range(20)], [0, 1] * 10)
    source.targets = [0, 1] * 10
    assert tamis.data.read(source).label_codes.tolist() == [0, 1] * 10
    assert source.calls <= 4
    source.targets = [1, 0] * 10
    assert tamis.data.read(source).label_codes.tolist() == [0, 1] * 10


def test_torch_vectors_and_texts():
    features = torch.arange(6.0).reshape(3, 2)
    dataset = tamis.data.read(torch.utils.data.TensorDataset(features, torch.tensor([2, 0, 2])))
    assert dataset.features["features"].tolist() == features.tolist()
    assert dataset.class_names == (0, 2)
    assert tamis.data.read(Pictures(["a", "b"], [0, 1])).inputs["text"].read([1]) == ["b"]


def test_torch_rows_that_fail():
    class Failing(Pictures):
        def __getitem__(self, row):
            if row == 1:
                raise RuntimeError("disk on fire")
            return super().__getitem__(row)

    dataset = tamis.data.read(Failing([picture(value) for value in range(3)], [0, 1, 1]))
    assert "disk on fire" in dataset.problems[1]
    assert dataset.label_codes.tolist() == [0, -1, 1]
    assert isinstance(dataset.inputs["image"].read([1])[0], Unreadable)
    assert (dataset.inputs["image"].digests()[1] == 0).all()
    with pytest.raises(InputError, match=r"row 1.*disk on fire"):
        tamis.data.read(Failing([torch.ones(2)] * 3, [0, 1, 1]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Pictures([], []), "empty"),
        (Pictures([torch.randn(3, 5, 5) * 9], [0]), "legal is 0 to 1"),
        (Pictures([torch.ones(3, 5, 5, dtype=torch.int32)], [0]), "type int32"),
        (Pictures([torch.ones(2, 5, 5, 5)], [0]), "shape"),
        (Pictures([picture(0)], [7]), "legal are codes 0 to 1"),
        (Pictures([{"x": 1}], [0]), "shape|dict"),
        (torch.utils.data.TensorDataset(torch.ones(2, 2)), r"\(sample, label\)"),
    ],
)
def test_refused_torch_sets(source, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(source)


def test_torch_first_row_fails():
    class Broken(Pictures):
        def __getitem__(self, row):
            raise RuntimeError("disk on fire")

    with pytest.raises(InputError, match="disk on fire"):
        tamis.data.read(Broken([1], [1]))
