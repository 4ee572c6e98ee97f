from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.labels import check_class_names, encode_labels
from tamis.errors import InputError


@pytest.mark.parametrize(
    ("labels", "codes", "names"),
    [
        (["b", "a", None, ""], [1, 0, -1, -1], ("a", "b")),
        (np.array(["b", "a"]), [1, 0], ("a", "b")),
        (np.array([b"b", b"a"]), [1, 0], ("a", "b")),
        (np.array(["b", None, "a"], dtype=object), [1, -1, 0], ("a", "b")),
        (pa.array(["b", None, "a"]), [1, -1, 0], ("a", "b")),
        (pa.array(["b", None, "a"], pa.large_string()), [1, -1, 0], ("a", "b")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), [1, 0, 1], ("a", "b")),
        (pa.chunked_array([["b"], ["a"]]), [1, 0], ("a", "b")),
        ([7, -3, 900], [1, 0, 2], (-3, 7, 900)),
        (np.array([7, -3], dtype=np.int8), [1, 0], (-3, 7)),
        (np.array([7, 3], dtype=np.uint64), [1, 0], (3, 7)),
        (pa.array([7, None, -3]), [1, -1, 0], (-3, 7)),
        ([1.0, float("nan"), 0.0], [1, -1, 0], (0, 1)),
        (np.array([2.0, np.nan], dtype=np.float16), [0, -1], (2,)),
        (pa.array([1.0, None]), [0, -1], (1,)),
        ([1, 2.0, None, pd.NA, pd.NaT], [0, 1, -1, -1, -1], (1, 2)),
        ([decimal.Decimal("4"), decimal.Decimal("3")], [1, 0], (3, 4)),
        (pa.array([decimal.Decimal("4"), None]), [0, -1], (4,)),
        ([True, False, None], [1, 0, -1], (0, 1)),
        (np.array([True, False]), [1, 0], (0, 1)),
        (pa.array([True, None, False]), [1, -1, 0], (0, 1)),
        ([[0, 1], [1, 0]], [1, 0], (0, 1)),
        (np.eye(3, dtype=np.float32), [0, 1, 2], (0, 1, 2)),
        (np.array([[0.0, 1.0], [np.nan, np.nan]]), [0, -1], (1,)),
        (pa.array([[0, 1], [1, 0], None]), [1, 0, -1], (0, 1)),
        (np.array([[3], [5]]), [0, 1], (3, 5)),
        (["<script>alert(1)</script>", "\u202eabc", "日本"], [0, 1, 2], None),
    ],
)
def test_forms_of_labels(labels, codes, names):
    encoded = encode_labels(labels)
    if names is None:
        assert [encoded.class_names[code] for code in encoded.codes] == labels
    else:
        assert (encoded.codes.tolist(), encoded.class_names) == (codes, names)
        assert [type(name) for name in encoded.class_names] == [type(name) for name in names]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"], "mix types: row 0 is number .*row 1 is text"),
        ([True, 2], "mix types"),
        (["a", ["b"]], "mix types"),
        ([0.5, 1.0], r"row 0 is 0\.5.*not a whole number"),
        (np.array([1.0, np.inf]), "row 1 is inf"),
        ([[1, 1], [0, 1]], r"row 0 has 2 classes.*multilabel.*not supported yet"),
        ([["a", "b"], ["a"]], "multilabel"),
        ([{"a"}, {"b"}], "multilabel"),
        ([[0, 0], [0, 1]], "row 0 has no class"),
        ([[0.3, 0.7], [0.5, 0.5]], "pred_probs="),
        ([object()], "row 0 is object"),
        ([{"a": 1}], "row 0 is dict"),
        (pa.array([b"a"]), "binary"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ([2**70], "beyond 64 bits"),
        (np.array([2**64 - 1], dtype=np.uint64), "beyond 64 bits"),
        ("cat", "pass an array or a list"),
        (None, "pass an array or a list"),
        (np.ma.masked_array([1, 2]), "masked"),
        ([b"\xff"], "not UTF-8"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_refused_labels(labels, message):
    with pytest.raises(InputError, match=message):
        encode_labels(labels)


def test_class_names_make_integers_codes():
    codes, names = encode_labels([2, 0, None], class_names=["x", "y", "z"])
    assert codes.tolist() == [2, 0, -1]
    assert names == ("x", "y", "z")
    with pytest.raises(InputError, match=r"row 1 is 3; legal are codes 0 to 2"):
        encode_labels([0, 3], class_names=["x", "y", "z"])
    with pytest.raises(InputError, match=r"row 0 is -1"):
        encode_labels([-1, 0], class_names=["x", "y"])
    assert encode_labels([-1, 0], class_names=["x", "y"], missing_code=-1).codes.tolist() == [-1, 0]


def test_integer_class_names_are_values():
    codes, names = encode_labels([30, 10], class_names=[30, 20, 10])
    assert (codes.tolist(), names) == ([0, 2], (30, 20, 10))
    with pytest.raises(InputError, match="row 0 is 0; legal are 30, 20, 10"):
        encode_labels([0], class_names=[30, 20, 10])
    with pytest.raises(InputError, match="row 0 is 99"):
        encode_labels([99], class_names=[30, 20, 10])


def test_text_must_be_among_class_names():
    assert encode_labels(["y"], class_names=["x", "y"]).codes.tolist() == [1]
    with pytest.raises(InputError, match=r"row 1 is 'dgo'.*'cat', 'dog'"):
        encode_labels(["dog", "dgo"], class_names=["cat", "dog"])


def test_columns_of_probabilities_decide_the_classes():
    assert encode_labels([0, 2], n_columns=4).class_names == (0, 1, 2, 3)
    assert encode_labels([5, 9], n_columns=2).class_names == (5, 9)
    assert encode_labels(["a", "b"], n_columns=2).class_names == ("a", "b")
    with pytest.raises(InputError, match="pass class_names="):
        encode_labels(["a", "b"], n_columns=3)
    with pytest.raises(InputError, match="pass class_names="):
        encode_labels([0, 7], n_columns=3)
    with pytest.raises(InputError, match="3 columns but there are 2 class names"):
        encode_labels(["a"], n_columns=3, class_names=["a", "b"])


@pytest.mark.parametrize(
    "names", [[], "abc", ["a", 1], [1.5], [True, False], ["a", "b", "a"], [None], 5, {"a": 0}, {"a"}]
)
def test_refused_class_names(names):
    with pytest.raises(InputError, match="class_names"):
        check_class_names(names)


@given(st.lists(st.one_of(st.none(), st.text(min_size=1)), min_size=1))
def test_codes_give_the_labels_back(labels):
    encoded = encode_labels(labels)
    assert [None if code < 0 else encoded.class_names[code] for code in encoded.codes] == labels
    assert list(encoded.class_names) == sorted(encoded.class_names)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.randoms())
def test_class_names_do_not_depend_on_row_order(labels, random):
    shuffled = labels.copy()
    random.shuffle(shuffled)
    assert encode_labels(labels).class_names == encode_labels(np.array(shuffled)).class_names
