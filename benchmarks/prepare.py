"""The arrays of the detection benchmark, as detection.toml names them.

    python benchmarks/prepare.py --out arrays
    TAMIS_BENCH_ARRAYS=$PWD/arrays tamis bench benchmarks/detection.toml --out runs/bench-detection

Reads the folder of real data (see `sources.shared_file`) and, for Fashion-MNIST, the IDX gzip files in the
folder TAMIS_FASHION_MNIST. Images without features go through the built-in encoder. A set whose files are
missing is skipped with a message; one that is there already is not made again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from sources import MissingDataError, shared_file

from tamis.runs import atomic_path

Arrays = dict[str, npt.NDArray[np.generic]]

HUMAN = {
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
}
CROWDS = ("bluebird", "dog", "web_relevance", "sentiment_polarity", "music_genre", "zencrowd_in")
N_COMPONENTS = 128
_ENCODED_ROWS = 10_000
_PER_CLASS = 100


def cifar10n(rows: int) -> Arrays:
    """Frozen features, the truth and five sets of human labels; three single annotators as a crowd."""
    table = pq.read_table(shared_file("cifar10_train.parquet"), columns=["label", *HUMAN.values()])
    arrays = {name: table.column(column).to_numpy()[:rows].astype(np.int64) for name, column in HUMAN.items()}
    with np.load(shared_file("cifar10_features_efflite0.npz"), allow_pickle=False) as stored:
        arrays["features"] = stored["train"][:rows].astype(np.float32)
    n_rows = len(arrays["features"])
    answers = np.stack([arrays[name] for name in ("random1", "random2", "random3")], axis=1)
    return arrays | {
        "truth": table.column("label").to_numpy()[:rows].astype(np.int64),
        "task": np.repeat(np.arange(n_rows), 3),
        "worker": np.tile(np.arange(3), n_rows),
        "label": answers.ravel(),
    }


def cifar10_test(_: int) -> Arrays:
    """Published probabilities, confirmed errors, and the class that most of about 51 people named."""
    with np.load(shared_file("labelerrors_cifar10_test.npz"), allow_pickle=False) as stored:
        arrays = {
            "pred_probs": stored["pred_probs"],
            "labels": stored["given_label"].astype(np.int64),
            "is_wrong": stored["label_error"],
        }
    with np.load(shared_file("cifar10h_counts.npz"), allow_pickle=False) as stored:
        arrays["majority"] = stored["counts"].argmax(axis=1).astype(np.int64)
    with np.load(shared_file("cifar10_features_efflite0.npz"), allow_pickle=False) as stored:
        arrays["features"] = stored["test"].astype(np.float32)
    return arrays


def news20(_: int) -> Arrays:
    """Published probabilities and confirmed errors; TF-IDF of the texts, 128 singular directions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    with np.load(shared_file("labelerrors_20news_test.npz"), allow_pickle=False) as stored:
        arrays = {
            "pred_probs": stored["pred_probs"],
            "labels": stored["given_label"].astype(np.int64),
            "is_wrong": stored["label_error"],
        }
    texts = pq.read_table(shared_file("news20_test_text.parquet"), columns=["text"]).column("text")
    # Without headers: the newsgroup's name stands in them.
    bodies = [text.partition("\n\n")[2] for text in texts.to_pylist()]
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=3).fit_transform(bodies)
    directions = TruncatedSVD(N_COMPONENTS, random_state=0).fit_transform(words)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return arrays | {"features": (directions / np.maximum(lengths, 1e-12)).astype(np.float32)}


def fashion_mnist(_: int) -> Arrays:
    """The first 10,000 training images through the built-in encoder."""
    named = os.environ.get("TAMIS_FASHION_MNIST")
    if not named or not Path(named).is_dir():
        raise MissingDataError("set TAMIS_FASHION_MNIST to the folder of the IDX gzip files")
    # The header of images is 16 bytes, of labels 8.
    images = gzip.decompress((Path(named) / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((Path(named) / "train-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)[:_ENCODED_ROWS]
    truth = np.frombuffer(labels, np.uint8, offset=8)[:_ENCODED_ROWS].astype(np.int64)
    return {"features": encoded([_png(image) for image in pixels], truth), "truth": truth}


def omniglot(_: int) -> Arrays:
    """Every drawing through the built-in encoder."""
    with np.load(shared_file("omniglot_small.npz"), allow_pickle=False) as stored:
        images, truth = stored["images"], stored["character"].astype(np.int64)
    return {"features": encoded([_png(image) for image in images], truth), "truth": truth}


def tiny_imagenet(_: int) -> Arrays:
    """A hundred images of each of a hundred classes through the built-in encoder."""
    frame = pq.read_table(shared_file("tinyimagenet32_a.parquet"), columns=["image", "label"]).to_pandas()
    frame = frame.groupby("label").head(_PER_CLASS)
    truth = frame["label"].to_numpy().astype(np.int64)
    return {"features": encoded(frame["image"].tolist(), truth), "truth": truth}


def crowd(name: str) -> Arrays:
    """Answers, and true classes by task number; -1 where nobody knows."""
    if name == "rte":
        answers = pq.read_table(shared_file("crowd_rte_answers.parquet")).to_pandas()
        known = pq.read_table(shared_file("crowd_rte_items.parquet")).to_pandas()
    else:
        chosen = [("dataset", "==", name)]
        answers = pq.read_table(shared_file("crowd_answers.parquet"), filters=chosen).to_pandas()
        known = pq.read_table(shared_file("crowd_truth.parquet"), filters=chosen).to_pandas()
    truth = np.full(1 + max(int(answers["item"].max()), int(known["item"].max())), -1, dtype=np.int64)
    truth[known["item"].to_numpy()] = known["truth"].to_numpy()
    columns = {"task": "item", "worker": "worker", "label": "label"}
    arrays: Arrays = {key: answers[column].to_numpy(np.int64) for key, column in columns.items()}
    return arrays | {"truth": truth}


def encoded(images: Sequence[bytes], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return features of image files by the built-in encoder: their first 128 principal components."""
    from sklearn.decomposition import PCA

    import tamis
    from tamis.encoders import encode

    frame = pd.DataFrame({"image": list(images), "label": labels})
    features = np.array(encode(tamis.read(frame, image="image", label="label")).features)
    components: npt.NDArray[np.float32] = PCA(N_COMPONENTS, svd_solver="covariance_eigh").fit_transform(
        features
    )
    return components.astype(np.float32)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, format="png")
    return buffer.getvalue()


SETS: dict[str, Callable[[int], Arrays]] = {
    "cifar10n": cifar10n,
    "cifar10_test": cifar10_test,
    "news20": news20,
    "fashion_mnist": fashion_mnist,
    "omniglot": omniglot,
    "tiny_imagenet": tiny_imagenet,
    **{f"crowd_{name}": (lambda _, name=name: crowd(name)) for name in (*CROWDS, "rte")},
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder; gets one .npz file a set")
    parser.add_argument("--sets", default=",".join(SETS), help="default: all")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of CIFAR-10N (default: %(default)s)")
    arguments = parser.parse_args(argv)
    chosen = arguments.sets.split(",")
    unknown = [name for name in chosen if name not in SETS]
    if unknown:
        parser.error(f"unknown sets {unknown}; choose from {', '.join(SETS)}")
    skipped = 0
    for name in chosen:
        path = arguments.out / f"{name}.npz"
        if path.exists():
            print(f"{path} is there already; delete it to make it again", file=sys.stderr)
            continue
        try:
            arrays = SETS[name](arguments.rows)
        except MissingDataError as missing:
            print(f"{name} is skipped: {missing}", file=sys.stderr)
            skipped += 1
            continue
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)
        print(path, {key: array.shape for key, array in arrays.items()}, flush=True)
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
