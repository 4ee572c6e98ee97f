from __future__ import annotations

import os

import pytest

from tamis.data import local_files
from tamis.data.local_files import OUTSIDE, path_problem, read_file
from tamis.errors import InputError


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "data"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.bin").write_bytes(b"inside")
    (tmp_path / "secret.bin").write_bytes(b"secret")
    (tmp_path / "data-secret.bin").write_bytes(b"secret")
    return inside.resolve()


def test_files_inside_are_read(folder):
    assert read_file("a.bin", folder) == b"inside"
    assert read_file("sub/../a.bin", folder) == b"inside"
    assert read_file(str(folder / "a.bin"), folder) == b"inside"


@pytest.mark.parametrize(
    "path",
    ["../secret.bin", "sub/../../secret.bin", "..", "/etc/passwd", "./../secret.bin", "../data-secret.bin"],
)
def test_paths_outside_are_never_opened(folder, path, monkeypatch):
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a file was opened"))
    assert path_problem(path, folder) == OUTSIDE
    with pytest.raises(InputError, match="outside"):
        read_file(path, folder)


def test_absolute_neighbour_with_the_same_prefix(folder):
    with pytest.raises(InputError, match="outside"):
        read_file(f"{folder}-secret.bin", folder)


@pytest.mark.parametrize("target", ["../secret.bin", "absolute"])
def test_links_that_escape_are_not_opened(folder, target, monkeypatch):
    link = folder / "link.bin"
    link.symlink_to(folder.parent / "secret.bin" if target == "absolute" else target)
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a file was opened"))
    for path in ("link.bin", "up/secret.bin"):
        with pytest.raises(InputError, match="outside"):
            read_file(path, folder)


def test_links_inside_are_followed(folder):
    (folder / "link.bin").symlink_to("a.bin")
    assert read_file("link.bin", folder) == b"inside"


@pytest.mark.parametrize(
    "path",
    ["http://host/x.png", "HTTPS://host/x.png", "file:///etc/passwd", "s3://b/x", "data:image/png;base64,AA"],
)
def test_addresses_are_refused(folder, path):
    for root in (folder, None):
        with pytest.raises(InputError, match="network address"):
            read_file(path, root)


def test_what_is_no_file(folder):
    os.mkfifo(folder / "pipe.png")
    for path, message in (("pipe.png", "regular"), ("sub", "regular|opened"), ("none.png", "does not exist")):
        with pytest.raises(InputError, match=message):
            read_file(path, folder)
    for path in (None, ""):
        with pytest.raises(InputError, match="no image is named"):
            read_file(path, folder)
    with pytest.raises(InputError, match="NUL"):
        read_file("a\0.png", folder)
    with pytest.raises(InputError, match="opened"):
        read_file("x" * 5000, folder)


def test_link_loop(folder):
    (folder / "loop.png").symlink_to("loop.png")
    with pytest.raises(InputError):
        read_file("loop.png", folder)


def test_byte_cap(folder, monkeypatch):
    monkeypatch.setattr(local_files, "MAX_IMAGE_BYTES", 5)
    with pytest.raises(InputError, match="6 bytes, more than the 5"):
        read_file("a.bin", folder)


def test_tables_of_the_caller_may_name_absolute_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert read_file(str(folder.parent / "secret.bin"), None) == b"secret"
    assert read_file("a.bin", None) == b"inside"
    with pytest.raises(InputError, match="outside"):
        read_file("../secret.bin", None)


def test_names_with_colons_are_files(folder):
    (folder / "12:30.png").write_bytes(b"x")
    assert read_file("12:30.png", folder) == b"x"
