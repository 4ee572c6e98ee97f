import json

import numpy as np
import pytest

from tamis.encoders.cache import FeatureCache, Shard, default_cache_folder


@pytest.fixture
def store(tmp_path):
    # Rows 1 and 4 have one content, row 3 is known to be bad: positions 0..3 hold rows 0, 1, 2, 5.
    rows, same_as = np.array([0, 1, 2, 5]), np.array([0, 1, 2, -1, 1, 3])
    return FeatureCache(tmp_path / "key", rows, same_as, shard_rows=3)


FIRST = Shard(np.array([[1, 1], [0, 0], [3, 3]], dtype=np.float32), {1: "truncated"}, n_cut=2)
SECOND = Shard(np.array([[4, 5]], dtype=np.float32), n_cut=1)


def test_assembles_rows_duplicates_and_reasons(store):
    assert [list(store.positions(shard)) for shard in range(store.n_shards)] == [[0, 1, 2], [3]]
    store.save_shard(0, FIRST)
    store.save_shard(1, SECOND)
    assert store.load_finished() is None
    assert store.assemble()
    finished = store.load_finished()
    assert finished.features.tolist() == [[1, 1], [0, 0], [3, 3], [0, 0], [0, 0], [4, 5]]
    assert isinstance(finished.features, np.memmap)
    assert finished.unreadable == {1: "truncated", 4: "truncated"}
    assert finished.n_cut == 3
    assert sorted(path.name for path in store.folder.iterdir()) == ["features.json", "features.npy"]


def test_shard_comes_back_as_written(store):
    store.save_shard(0, FIRST)
    found = store.load_shard(0)
    assert np.array_equal(found.features, FIRST.features)
    assert (found.unreadable, found.n_cut) == (FIRST.unreadable, 2)
    assert store.load_shard(1) is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def wrong_rows(path):
    np.save(path, SECOND.features)


def objects(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, wrong_rows, objects, lambda path: path.unlink()])
def test_damaged_numbers_do_not_count(store, damage):
    store.save_shard(0, FIRST)
    store.save_shard(1, SECOND)
    damage(store.folder / "000000.npy")
    assert store.load_shard(0) is None
    assert not store.assemble()
    assert store.load_finished() is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}'])
def test_damaged_state_does_not_count(store, text):
    store.save_shard(0, FIRST)
    (store.folder / "000000.json").write_text(text)
    assert store.load_shard(0) is None


def test_damaged_later_shard_leaves_nothing_behind(store):
    store.save_shard(0, FIRST)
    store.save_shard(1, SECOND)
    truncate(store.folder / "000001.npy")
    before = sorted(path.name for path in store.folder.iterdir())
    assert not store.assemble()
    assert sorted(path.name for path in store.folder.iterdir()) == before


def test_truncated_result_does_not_count(store):
    store.save_shard(0, FIRST)
    store.save_shard(1, SECOND)
    store.assemble()
    truncate(store.folder / "features.npy")
    assert store.load_finished() is None


def test_state_is_readable_text(store):
    store.save_shard(0, FIRST)
    state = json.loads((store.folder / "000000.json").read_text())
    assert state["unreadable"] == {"1": "truncated"}


def test_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "own"))
    assert default_cache_folder() == tmp_path / "own" / "features"
    monkeypatch.delenv("TAMIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "xdg" / "tamis" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "tamis" / "features"
