"""Prompts of classes: filled templates, files of phrases, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.encoders.prompts import EncodesTexts, Prompts, encode_prompts, read_prompts
from tamis.errors import InputError


class LengthEncoder:
    name = "length"

    def encode_texts(self, texts):
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_filled_templates():
    prompts = Prompts(
        {"cat": ("which purrs", "with whiskers")}, ("a {name} {phrase}, a type of animal.", "the {name}")
    )
    assert prompts.of(["cat", "Snow_Leopard, ounce", 7]) == [
        [
            "a cat which purrs, a type of animal.",
            "the cat",
            "a cat with whiskers, a type of animal.",
        ],
        ["a snow leopard, a type of animal.", "the snow leopard"],
        ["a 7, a type of animal.", "the 7"],
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", '{"cat": ["which purrs"], "dog": ["which barks", "with a tail"]}'),
        ("p.toml", 'cat = ["which purrs"]\ndog = ["which barks", "with a tail"]\n'),
        ("p.txt", "# animals\ncat: which purrs\n\ndog: which barks\ndog : with a tail\n"),
        ("q.json", '{"classes": {"cat": ["which purrs"], "dog": ["which barks", "with a tail"]}}'),
    ],
)
def test_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert read_prompts(path).phrases == {"cat": ("which purrs",), "dog": ("which barks", "with a tail")}


def test_templates_from_a_file(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        'templates = ["x {name}", "y {name} {phrase}"]\n[classes]\ncat = ["z"]\n', encoding="utf-8"
    )
    assert read_prompts(path).of(["cat", "dog"]) == [["x cat", "y cat z"], ["x dog", "y dog"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", "cannot be read"),
        ("p.json", '["cat"]', "does not map classes"),
        ("p.json", '{"cat": "which purrs"}', "does not map classes"),
        ("p.json", '{"classes": {"cat": []}, "templates": "x"}', "expected a list of texts"),
        ("p.json", '{"classes": {"cat": []}, "templates": []}', "templates is empty"),
        ("p.toml", 'classes = {cat = ["x"]}\ntemplates = ["no name"]', "needs {name}"),
        ("p.toml", 'classes = {cat = ["x"]}\ntemplates = ["{name} {other}"]', "needs {name}"),
        ("p.txt", "cat which purrs", "line 1 is 'cat which purrs'; write 'class: phrase'"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_prompts(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "absent.json")


def test_phrases_of_no_class_are_refused():
    with pytest.raises(InputError, match="'cta', which is no class; did you mean 'cat'"):
        Prompts({"cta": ("x",)}).of(["cat", "dog"])


def test_embeddings_by_class():
    encoder = LengthEncoder()
    assert isinstance(encoder, EncodesTexts)
    first, second = encode_prompts(encoder, [["a", "abc"], ["ab"]])
    assert first.tolist() == [[1.0, 1.0], [3.0, 1.0]]
    assert second.tolist() == [[2.0, 1.0]]
