"""Text lists: what is wrong is told with file and line."""

from __future__ import annotations

import pytest

from tamis.data.published.lists import read_keys, read_lines, read_pairs
from tamis.errors import InputError


def written(folder, text, name="list.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_keep_their_numbers(tmp_path):
    path = written(tmp_path, "\ufeffa 1\r\n\n  \nb c 2\n")
    assert [(line.number, line.text) for line in read_lines(path)] == [(1, "a 1"), (4, "b c 2")]
    assert [(key, code) for _, key, code in read_pairs(path)] == [("a", 1), ("b c", 2)]


def test_heading_and_repeated_keys(tmp_path):
    path = written(tmp_path, "name,label\na,1\na,0\n")
    pairs = list(read_pairs(path, separator=",", heading="name", may_repeat=True))
    assert [code for _, _, code in pairs] == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a 1\nb",
            r"line 2 \('b'\): expected a file and a label id with ' ' between; the line may be cut off",
        ),
        ("a 1\n 2\n", r"line 2 \(' 2'\): expected a file"),
        ("a 1\nb x\n", "line 2 .*: the label 'x' is not a whole number"),
        ("a 1\nb -1\n", "line 2 .*: the label '-1' is not a whole number"),
        ("a 1\nb 1.0\n", "line 2 .*: the label '1.0' is not a whole number"),
        ("a ٣\n", "line 1 .*: the label '٣' is not a whole number"),
        ("a 99999999999999999999\n", "line 1 .* is not a whole number"),
        ("a 1\nb 3\n", "line 2 .*: the label 3 is not legal; legal are 0 to 2"),
        ("a 1\nb 2\na 1\n", "line 3 .*: 'a' stands in line 1 already; each file may be listed once"),
        (b"a 1\n\xff\xfe 2\n", "line 2 is not UTF-8 text"),
        ("", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        list(read_pairs(path, n_classes=3))
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .No such file"):
        list(read_keys(tmp_path / "none.txt"))
    with pytest.raises(InputError, match="cannot be read"):
        list(read_keys(tmp_path))
    with pytest.raises(InputError, match="'a' stands in line 1 already"):
        list(read_keys(written(tmp_path, "a\na\n")))


def test_long_lines_are_shortened(tmp_path):
    with pytest.raises(InputError) as caught:
        list(read_pairs(written(tmp_path, "x" * 500)))
    assert len(str(caught.value)) < 400
