from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tamis.data.digests import content_digest, digest_array, feature_digests


def test_by_hand():
    matrix = np.array([[1.0, 2.0]], dtype=np.float32)
    expected = hashlib.blake2b(np.array([1.0, 2.0], dtype="<f4").tobytes(), digest_size=16).digest()
    assert feature_digests(matrix).astype("<u8").tobytes() == expected
    assert digest_array([content_digest(b"a")]).astype("<u8").tobytes() == content_digest(b"a")
    assert digest_array([]).shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, np.int16, ">f4"])
def test_narrow_types_agree(dtype):
    values = np.array([[0, 1, 2], [3, 4, 5]])
    assert (feature_digests(values.astype(dtype)) == feature_digests(values.astype(np.float32))).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_wide_types_agree(dtype):
    values = np.array([[0, 1, 2], [3, 4, 5]])
    assert (feature_digests(values.astype(dtype)) == feature_digests(values.astype(np.float64))).all()


def test_wide_values_keep_their_digits():
    close = np.array([[1.0], [1.0 + 1e-12]])
    assert len(np.unique(feature_digests(close), axis=0)) == 2


def test_negative_zero_and_memory_order():
    a = np.array([[0.0, 1.0], [2.0, -0.0]])
    b = np.asfortranarray(np.array([[-0.0, 1.0], [2.0, 0.0]]))
    assert (feature_digests(a) == feature_digests(b)).all()
    assert (feature_digests(np.repeat(a, 2, axis=1)[:, ::2]) == feature_digests(a)).all()


def test_rows_without_finite_values_have_no_digest():
    matrix = np.array([[np.nan, 1], [np.inf, 1], [1, 1]])
    digests = feature_digests(matrix)
    assert (digests[:2] == 0).all()
    assert (digests[2] != 0).any()


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.sampled_from([0.0, 1.0])
    ),
    st.integers(1, 25),
    st.randoms(),
)
def test_properties(matrix, block_rows, random):
    digests = feature_digests(matrix)
    assert (digests == feature_digests(matrix, block_rows)).all()
    order = np.array(random.sample(range(len(matrix)), len(matrix)))
    assert (digests[order] == feature_digests(matrix[order])).all()
    same = (matrix[:, None] == matrix[None]).all(axis=2)
    assert (same == (digests[:, None] == digests[None]).all(axis=2)).all()


def test_memory_mapped(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(100, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", matrix)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert (feature_digests(mapped, 13) == feature_digests(matrix)).all()
    assert feature_digests(matrix[:0]).shape == (0, 2)
