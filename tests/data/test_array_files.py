from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

import tamis.data
from tamis.data import array_files
from tamis.data.array_files import ArrayArchive, load_array
from tamis.errors import InputError


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(shape, dtype="<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i1", "?", "<U3"])
def test_npy_is_mapped(tmp_path, order, dtype):
    array = np.asarray(np.arange(12).reshape(3, 4) % 2, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    loaded = load_array(tmp_path / "a.npy")
    assert isinstance(loaded, np.memmap)
    assert (loaded == array).all()
    assert loaded.dtype == array.dtype


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Bomb()), "not a NumPy array.*nothing was loaded"),
        (npy(np.array([Bomb()], dtype=object), allow_pickle=True), "Python objects"),
        (b"", "not a NumPy array"),
        (b"\x93NUMPY", "damaged header"),
        (b"\x93NUMPY\x07\x00\x10\x00", "damaged header"),
        (b"\x93NUMPY\x01\x00\x10\x00__import__('os')", "damaged header"),
        (header((10**9, 10**9)), "cut off"),
        (header((10, 3)) + b"123", "cut off"),
        (header((-1, 3)), "shape|damaged"),
        (npy(np.zeros(2, dtype=[("a", "f4")])), "legal are numbers"),
        (npy(np.zeros(2, dtype="datetime64[s]")), "legal are numbers"),
    ],
)
def test_hostile_npy(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_array(tmp_path / "a.npy")
    with pytest.raises(InputError):
        tamis.data.read(tmp_path / "a.npy", label="a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(InputError, match="x"):
        tamis.data.read(tmp_path / "a.npz")


def test_missing_npy(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        load_array(tmp_path / "none.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_members(tmp_path, save):
    arrays = {
        "x": np.random.default_rng(0).normal(size=(20, 3)),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "s": np.array(["a", "bc"]),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(7),
    }
    save(tmp_path / "a.npz", **arrays)
    archive = ArrayArchive(tmp_path / "a.npz")
    assert set(archive) == set(arrays)
    assert len(archive) == 5
    for name, array in arrays.items():
        assert archive.shape(name) == array.shape
        assert np.array_equal(archive[name], array)


def test_plain_members_are_mapped_where_aligned(tmp_path):
    # The place of a member depends on the length of its name, so among eight lengths one is aligned.
    found = set()
    for length in range(1, 9):
        np.savez(tmp_path / "a.npz", **{"x" * length: np.arange(6.0)})
        loaded = ArrayArchive(tmp_path / "a.npz")["x" * length]
        assert loaded.tolist() == [0, 1, 2, 3, 4, 5]
        assert loaded.flags.aligned
        found.add(isinstance(loaded, np.memmap))
    assert True in found


def test_declared_sizes_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header((2**40,)) + b"0" * 100)
    with pytest.raises(InputError, match=r"declares shape .* but its member has"):
        ArrayArchive(path)


def test_zip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "_FREE_EXPANSION_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(2**19), y=np.zeros(3))
    with pytest.raises(InputError, match=r"would expand from .* to 4,194,"):
        ArrayArchive(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(2**19))
    assert ArrayArchive(tmp_path / "a.npz").shape("x") == (2**19,)


def test_lying_directory(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, features=np.random.default_rng(0).normal(size=(50, 2)), labels=np.arange(50) % 2
    )
    content = bytearray(path.read_bytes())
    # Flip bytes all over the file: the answer is data that are right, or an InputError.
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = content.copy()
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            assert len(tamis.data.read(path)) == 50


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"rubbish", pickle.dumps({"x": 1})])
def test_not_an_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        tamis.data.read(tmp_path / "a.npz")


def test_encrypted_and_duplicate_members(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 8
    content[at : at + 2] = struct.pack("<H", struct.unpack_from("<H", content, at)[0] | 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable"):
        ArrayArchive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(np.zeros(3)))
        archive.writestr("x", npy(np.zeros(3)))
    with pytest.raises(InputError, match="occurs twice"):
        ArrayArchive(path)
