from __future__ import annotations

import io
import json

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tamis.data
from tamis.data import Unreadable
from tamis.errors import InputError


def png(value: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (4, 3), (value, value, value)).save(file, "PNG")
    return file.getvalue()


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def values(dataset):
    return [
        int(s[0, 0, 0]) if isinstance(s, np.ndarray) else s
        for s in dataset.inputs["image"].read(range(len(dataset)))
    ]


def test_csv_of_texts(tmp_path):
    path = write(tmp_path / "t.csv", 'text,label,n\n"a, ""b""\nc",x,007\n=1+1,y,1\n,x,2\n')
    dataset = tamis.data.read(path)
    texts = dataset.inputs["text"].read([0, 1, 2])
    assert texts[:2] == ['a, "b"\nc', "=1+1"]
    assert isinstance(texts[2], Unreadable)
    assert dataset.problems == {2: "text is missing or empty"}
    assert dataset.ids == ["0", "1", "2"]
    assert dataset.table.column("n").to_pylist() == ["007", "1", "2"]


def test_tsv_and_upper_case_suffix(tmp_path):
    dataset = tamis.data.read(write(tmp_path / "t.TSV", "Text\tLabel\na,b\tx\nc\ty\n"))
    assert dataset.inputs["text"].read([0]) == ["a,b"]


@pytest.mark.parametrize(
    ("column", "names", "codes"),
    [
        (["1", "-2", ""], (-2, 1), [1, 0, -1]),
        (["1.0", "2.0", ""], (1, 2), [0, 1, -1]),
        (["01", "2", "1"], ("01", "1", "2"), [0, 2, 1]),
        (["true", "false", ""], ("false", "true"), [1, 0, -1]),
        (["2020-01-01", "x", "nan"], ("2020-01-01", "nan", "x"), [0, 2, 1]),
        (["1", "two", "3"], ("1", "3", "two"), [0, 2, 1]),
        (["9" * 30, "1", "1"], ("1", "9" * 30), [1, 0, 0]),
    ],
)
def test_labels_of_csv(tmp_path, column, names, codes):
    rows = "".join(f"t{row},{value}\n" for row, value in enumerate(column))
    dataset = tamis.data.read(write(tmp_path / "t.csv", f"text,label\n{rows}"))
    assert dataset.class_names == names
    assert dataset.label_codes.tolist() == codes


@pytest.mark.parametrize(
    ("encoding", "notes"), [("utf-8", 0), ("utf-8-sig", 0), ("utf-16", 0), ("latin-1", 1), ("cp1252", 1)]
)
def test_encodings_of_csv(tmp_path, encoding, notes):
    dataset = tamis.data.read(write(tmp_path / "t.csv", "text,label\ncafé,à\nb,c\n", encoding))
    assert dataset.inputs["text"].read([0]) == ["café"]
    assert dataset.class_names == ("c", "à")
    assert len(dataset.notes) == notes


def test_csv_of_numbers(tmp_path):
    path = write(tmp_path / "t.csv", "a,b,species\n1.5,2.5,x\n0.5,,y\n1,nan,y\n")
    with pytest.raises(InputError, match=r"no label column.*'a', 'b', 'species'"):
        tamis.data.read(path)
    dataset = tamis.data.read(path, label="species")
    assert dataset.features["features"].shape == (3, 2)
    assert dataset.problems == {1: "features contain NaN", 2: "features contain NaN"}
    assert "'a', 'b'" in dataset.notes[0]
    assert tamis.data.read(path, label="species", features="a").features["features"].ravel().tolist() == [
        1.5,
        0.5,
        1,
    ]
    assert tamis.data.read(path, label="species", features=["b", "a"]).features["features"][0].tolist() == [
        2.5,
        1.5,
    ]
    with pytest.raises(InputError, match="only numbers can be features"):
        tamis.data.read(write(tmp_path / "u.csv", "a,label\n1.5,x\nb,y\n"), features=["a"])


def test_csv_of_image_paths(tmp_path):
    (tmp_path / "data" / "i").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png(99))
    (tmp_path / "data" / "i" / "a.png").write_bytes(png(7))
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    absolute = tmp_path / "data" / "i" / "a.png"
    paths = [
        "i/a.png",
        "../secret.png",
        "/etc/passwd",
        "http://h/a.png",
        "link.png",
        "none.png",
        "",
        str(absolute),
    ]
    rows = "".join(f"{path},{'xy'[row % 2]},s{row % 2}\n" for row, path in enumerate(paths))
    dataset = tamis.data.read(write(tmp_path / "data" / "m.csv", f"image,label,split\n{rows}"))
    samples = values(dataset)
    assert (samples[0], samples[7]) == (7, 7)
    assert all(isinstance(sample, Unreadable) for sample in samples[1:7])
    assert sorted(dataset.problems) == [1, 2, 3, 6]
    assert "outside" in dataset.problems[1]
    assert "address" in dataset.problems[3]
    assert "outside" in samples[4].reason
    assert dataset.table.column("split").to_pylist() == ["s0", "s1"] * 4
    assert dataset.table.column("image").to_pylist()[0] == "i/a.png"
    assert (dataset.inputs["image"].digests()[[0, 7]] == dataset.inputs["image"].digests()[0]).all()


def test_a_row_with_two_inputs_needs_one(tmp_path):
    path = write(tmp_path / "m.csv", "image,text,label\n../a.png,x,p\n../b.png,,q\na.png,,q\n")
    assert list(tamis.data.read(path).problems) == [1]


def test_manifest_whose_rows_all_fail(tmp_path):
    with pytest.raises(InputError, match=r"no row .* can be used; row 0: path lies outside"):
        tamis.data.read(write(tmp_path / "m.csv", "image,label\n../a.png,x\n../b.png,y\n"))


def test_file_names_are_images_only_if_they_look_like_it(tmp_path):
    path = write(tmp_path / "m.csv", "text,label,filename\na,x,sci/1\nb,y,sci/2\n")
    assert list(tamis.data.read(path).inputs) == ["text"]
    path = write(tmp_path / "m.csv", "text,label,filename\na,x,1.JPG\nb,y,2.jpg\n")
    assert list(tamis.data.read(path).inputs) == ["image", "text"]


def test_json_lines(tmp_path):
    lines = [
        {"text": "a", "label": "x", "id": "p", "more": [1]},
        {"text": None, "label": "y", "id": "q", "late": 1},
        {"label": None, "id": "r", "text": "c", "more": "mixed"},
    ]
    path = write(tmp_path / "t.jsonl", "\ufeff" + "\n\n".join(json.dumps(line) for line in lines))
    dataset = tamis.data.read(path)
    assert dataset.ids == ["p", "q", "r"]
    assert dataset.label_codes.tolist() == [0, 1, -1]
    assert dataset.problems == {1: "text is missing or empty"}
    assert dataset.table.column("late").to_pylist() == [None, 1, None]


def test_json_lines_of_features(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"embedding": [1, 2.5], "y": 1}\n{"embedding": null, "y": 0}\n')
    dataset = tamis.data.read(path)
    assert dataset.features["features"][0].tolist() == [1, 2.5]
    assert dataset.problems == {1: "features contain NaN"}


def test_semicolons(tmp_path):
    dataset = tamis.data.read(write(tmp_path / "t.csv", 'text;label\n"a;b";x\nc,d;y\n'))
    assert dataset.inputs["text"].read([0, 1]) == ["a;b", "c,d"]
    assert "semicolons" in dataset.notes[0]


def test_lone_surrogates_are_replaced(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"text": "a\\ud800", "label": "x"}\n')
    assert tamis.data.read(path).inputs["text"].read([0]) == ["a?"]
    with pytest.raises(InputError, match="text="):
        tamis.data.read(write(tmp_path / "t.jsonl", '{"text": {"a": 1}, "label": "x"}\n'))


def test_empty_lists(tmp_path):
    path = parquet(tmp_path, {"features": pa.array([[], []], pa.list_(pa.float32())), "label": [0, 1]})
    with pytest.raises(InputError, match="every row needs the same number"):
        tamis.data.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n', "mix types: row 0"),
        ('{"text": "a", "label": ["x", "y"]}\n', "multilabel"),
        ('{"text": "a", "label": 1}\nrubbish\n', "line 2 is not JSON"),
        ('{"text": "a", "label": 1}\n[1]\n', "line 2 holds list"),
        ("[" * 100_000 + "\n", "line 1 is not JSON"),
        ('{"text": 1, "label": 1}\n', "text=|no image, text or feature"),
        ('{"features": [1, 2], "label": 1}\n{"features": [1], "label": 2}\n', "row 1 differs"),
        ("", "is empty"),
        ("\n", "no rows"),
    ],
)
def test_refused_json_lines(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(write(tmp_path / "t.jsonl", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\n", "no rows"),
        ("", "is empty"),
        ("text,label\na,b,c\n", "cannot be read"),
        ("text,label,text\na,b,c\n", r"\['text'\] occur more than once"),
        ("text,label\na,\nb,\n", "none has a label"),
        ("text,label\na,0.5\nb,1.5\n", "not a whole number"),
        ("text,id,label\na,7,x\nb,7,y\n", "'7' stands in rows 0 and 1"),
        ("text,id,label\na,,x\nb,7,y\n", "row 0 is empty"),
        ("text,label,class\na,b,c\n", r"label= could be any of the columns \['label', 'class'\]"),
        ("text,sentence,label\na,b,c\n", "text= could be any"),
        ("a,b\n1,2\n", "no label column"),
        ("a,label\n1,2\n", "no image, text or feature column"),
        ("a,b,label\n1,2.5,2\n", r"pass features=\[...\]"),
    ],
)
def test_refused_csv(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        tamis.data.read(write(tmp_path / "t.csv", text))


def test_named_columns(tmp_path):
    path = write(tmp_path / "t.csv", "text,body,label,class,key,who\na,b,x,y,k,g1\nc,d,z,y,l,g2\n")
    dataset = tamis.data.read(path, text="body", label="label", group="who")
    assert dataset.inputs["text"].read([1]) == ["d"]
    assert dataset.ids == ["k", "l"]
    assert dataset.table.column("group").to_pylist() == ["g1", "g2"]
    assert dataset.table.column("class").to_pylist() == ["y", "y"]
    with pytest.raises(InputError, match="did you mean 'body'"):
        tamis.data.read(path, text="bodi", label="label")
    with pytest.raises(InputError, match="one role each"):
        tamis.data.read(path, text="body", label="body")


def parquet(tmp_path, columns, metadata=None, **options):
    table = pa.table(columns)
    path = tmp_path / "t.parquet"
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)
    return path


@pytest.mark.parametrize("form", ["bytes", "large", "struct"])
def test_parquet_of_image_bytes(tmp_path, form):
    content = [png(value) if value != 3 else None for value in range(10)]
    column = {
        "bytes": pa.array(content, pa.binary()),
        "large": pa.array(content, pa.large_binary()),
        "struct": pa.array([{"bytes": cell, "path": None} for cell in content]),
    }[form]
    path = parquet(tmp_path, {"image": column, "label": [0, 1] * 5}, row_group_size=4)
    dataset = tamis.data.read(path)
    expected = list(range(10))
    order = [9, 0, 5, 3, 8, 1, 2, 4, 7, 6]
    samples = dataset.inputs["image"].read(order)
    for row, sample in zip(order, samples, strict=True):
        assert isinstance(sample, Unreadable) if row == 3 else int(sample[0, 0, 0]) == expected[row]
    assert (dataset.inputs["image"].digests() == 0).all(axis=1).tolist() == [row == 3 for row in range(10)]
    assert "image" not in dataset.table.column_names


def test_parquet_paths_in_the_struct_must_stay_inside(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "secret.png").write_bytes(png(1))
    (tmp_path / "d" / "a.png").write_bytes(png(2))
    cells = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "../secret.png"}]
    dataset = tamis.data.read(parquet(tmp_path / "d", {"image": cells, "label": ["x", "y"]}))
    samples = values(dataset)
    assert samples[0] == 2
    assert "outside" in samples[1].reason


def test_parquet_keeps_one_row_group(tmp_path, monkeypatch):
    content = pa.array([png(row) for row in range(12)])
    dataset = tamis.data.read(parquet(tmp_path, {"image": content, "label": [0, 1] * 6}, row_group_size=4))
    reads = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, group, **kw: reads.append(group) or original(self, group, **kw),
    )
    dataset.inputs["image"].read([11, 0, 10, 1, 5])
    dataset.inputs["image"].read([9])
    assert reads == [0, 1, 2]


def test_class_names_in_metadata(tmp_path):
    names = json.dumps(["cat", "dog", "bird"])
    columns = {"text": ["a", "b"], "label": [1, 0], "other": [7, 0]}
    dataset = tamis.data.read(parquet(tmp_path, columns, {"class_names": names}))
    assert dataset.class_names == ("cat", "dog", "bird")
    assert dataset.label_codes.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"column 'other': labels row 0 is 7"):
        tamis.data.read(tmp_path / "t.parquet", label="other")
    assert tamis.data.read(tmp_path / "t.parquet", label="label", class_names=["p", "q"]).class_names == (
        "p",
        "q",
    )


@pytest.mark.parametrize(
    "metadata", [{"class_names": "rubbish"}, {"huggingface": '{"info": [1]}'}, {"huggingface": "["}]
)
def test_metadata_of_others_is_ignored(tmp_path, metadata):
    dataset = tamis.data.read(parquet(tmp_path, {"text": ["a", "b"], "label": [5, 0]}, metadata))
    assert dataset.class_names == (0, 5)


def test_parquet_of_features(tmp_path):
    lists = pa.array([[1.0, 2.0], [3.0, None], None], pa.list_(pa.float32()))
    dataset = tamis.data.read(parquet(tmp_path, {"features": lists, "label": ["x", "y", "x"]}))
    assert dataset.features["features"].dtype == np.float32
    assert sorted(dataset.problems) == [1, 2]
    fixed = pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2))
    dataset = tamis.data.read(parquet(tmp_path, {"embedding": fixed, "label": ["x", "y"]}))
    assert dataset.features["features"].tolist() == [[1, 2], [3, 4]]


def test_parquet_of_probabilities(tmp_path):
    dataset = tamis.data.read(parquet(tmp_path, {"pred_probs": [[0.1, 0.9, 0.0]] * 2, "label": [0, 1]}))
    assert dataset.class_names == (0, 1, 2)
    assert dataset.pred_probs.shape == (2, 3)


def test_damaged_parquet(tmp_path):
    for content in (b"PAR1 rubbish PAR1", b"rubbish", b"\x80\x04pickle"):
        (tmp_path / "t.parquet").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            tamis.data.read(tmp_path / "t.parquet")


def test_dictionary_columns(tmp_path):
    columns = {
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "label": pa.array(["x", "y"]).dictionary_encode(),
        "split": pa.array(["train", "test"]).dictionary_encode(),
        "group": [1.0, 2.0],
    }
    dataset = tamis.data.read(parquet(tmp_path, columns))
    assert dataset.inputs["text"].read([1]) == ["b"]
    assert dataset.table.column("split").to_pylist() == ["train", "test"]
    assert dataset.table.column("group").to_pylist() == ["1", "2"]


def test_empty_parquet(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        tamis.data.read(
            parquet(tmp_path, {"text": pa.array([], pa.string()), "label": pa.array([], pa.int8())})
        )
