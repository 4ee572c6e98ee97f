"""What cannot be trained is refused in words: which argument, what it was, what is legal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.training.conftest import Go, Planted

from tamis.errors import InputError, RunError

X, Y = np.eye(6).repeat(5, axis=0), np.arange(30) % 3

REFUSED = [
    ({"method": "ellr"}, "unknown method 'ellr'; did you mean 'elr'"),
    ({"params": {"lrr": 1.0}}, "no parameter 'lrr'; did you mean 'lr'"),
    ({"params": {"lr": "fast"}}, "lr is 'fast'; expected a number"),
    ({"params": {"lr": True}}, "lr is True; expected a number"),
    ({"params": {"lr": -1}}, "lr is -1.0; expected above 0 and at most 1000"),
    ({"params": {"lr": 1e4}}, "lr is 10000.0; expected above 0 and at most 1000"),
    ({"params": {"lr": float("nan")}}, "lr is nan; expected above 0"),
    ({"params": {"milestones": "x"}}, "milestones is 'x'; expected a list of numbers"),
    ({"params": {"schedule": "up"}}, "schedule is 'up'; expected 'constant'"),
    ({"method": "co_teaching", "params": {"noise_rate": "guess"}}, "expected a number or 'estimate'"),
    ({"backbone": "mpl"}, "unknown backbone 'mpl'; did you mean 'mlp'"),
    ({"backbone_options": {"depth": 3}}, "backbone 'linear' has no option 'depth'"),
    ({"backbone": "mlp", "backbone_options": {"dropout": "x"}}, "dropout is 'x'; expected a number"),
    ({"labels": np.zeros(30, int)}, "one class alone among the 30 rows"),
    ({"labels": [0] * 30, "class_names": ["a", "b"]}, "one class alone"),
    ({"labels": [None] * 30}, "none has a label"),
    ({"features": ...}, "features is missing"),
    ({"features": np.full((30, 2), np.nan)}, "no row of arrays can be used"),
    ({"initial_selection": np.zeros(30, bool)}, "the initial selection is empty"),
    ({"initial_selection": np.ones(3, bool)}, "a mask of 30 bool"),
    ({"initial_selection": "neighbour_vote"}, "did you mean 'neighbor_vote'"),
    ({"initial_selection": "dawid_skene"}, "detectors of features serve here"),
    ({"method": "eac"}, "method 'eac' looks at images"),
    ({"backbone": "small_cnn"}, "takes image inputs, but the data hold features"),
    ({"backbone": "transformers_text"}, "takes text inputs"),
    ({"plugins": ["relations"]}, "unknown plug-in 'relations'"),
    ({"epochs": -1}, "epochs is -1"),
    ({"epochs": 2.5}, "epochs is 2.5; expected a whole number"),
    ({"validation": 0.7}, "validation is 0.7; expected a share"),
    ({"validation": 0.01}, "nothing to hold out"),
    ({"params": {"patience": 2}}, "patience is 2, but no rows are held out"),
    ({"image_size": 32}, "image_size is 32, but the network takes features"),
    ({"prompts": "phrases.json"}, "only initial_selection='clipcleaner' reads them"),
    ({"params": "lr"}, "params is 'lr'; expected a mapping"),
    ({"validation": "a"}, "validation is 'a'; expected a share"),
    ({"random_state": 1.5}, "random_state is 1.5; expected a whole number"),
    ({"random_state": True}, "random_state is True; expected a whole number"),
    ({"processes": 2.5}, "processes is 2.5; expected a whole number"),
    ({"method": None}, "method is None; expected a word"),
    ({"backbone": None}, "backbone is None; expected a word"),
    ({"device": None}, "device is None; expected a word"),
    ({"audit": "no"}, "audit is 'no'; expected an audit, True or False"),
    ({"flip": "no"}, "flip is 'no'; expected True or False"),
    ({"plugins": "relations"}, "unknown plug-in 'relations'"),
    ({"device": "tpu"}, "device is 'tpu'"),
    ({"precision": "8"}, "precision is '8'"),
    ({"precision": "16-mixed"}, "precision is '16-mixed', which needs a GPU"),
    ({"memory_budget": "much"}, "memory"),
    ({"memory_budget": -5}, "memory"),
    ({"encoder": "minilm"}, "encoder is 'minilm', but the data hold features alone"),
    ({"processes": 0}, "processes is 0"),
    ({"random_state": -1}, "random_state is -1"),
    ({"task": "retrieval"}, "task is 'retrieval'"),
    ({"augmentation": "lots"}, "augmentation is 'lots'"),
    ({"test": (X, ["other"] * 30)}, "test has classes that the training data lack"),
    ({"test": (X[:, :2], Y)}, "test: the data have 2 features, the model takes 6"),
    ({"test": "no/such.csv"}, "test: source 'no/such.csv' does not exist"),
]


@pytest.mark.parametrize(("changed", "message"), REFUSED)
def test_refused(go: Go, changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        go(**({"features": X, "labels": Y} | changed))


def test_numbers_of_numpy_are_numbers(go: Go, tmp_path: Path) -> None:
    model = go(
        out=tmp_path / "run", random_state=np.int64(3), validation=np.float32(0.25), processes=np.int64(1)
    )
    again = go(out=tmp_path / "run", random_state=3, validation=0.25)
    assert model.history == again.history


def test_folders_of_something_else_are_left_alone(go: Go, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="a folder with other content"):
        go(out=tmp_path)
    with pytest.raises(InputError, match="a file; give a folder"):
        go(out=tmp_path / "thesis.txt")
    with pytest.raises(InputError, match="unknown method"):
        go(out=tmp_path / "new", method="nothing")
    # Wrong arguments leave nothing behind.
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_of_other_settings_is_not_continued(go: Go, tmp_path: Path) -> None:
    go(out=tmp_path / "run")
    with pytest.raises(RunError, match=r"lr 0\.02 there and 0\.5 now"):
        go(out=tmp_path / "run", params={"lr": 0.5})
    with pytest.raises(RunError, match="method 'cross_entropy' there and 'gce' now"):
        go(out=tmp_path / "run", method="gce")
    with pytest.raises(RunError, match="other data"):
        go(out=tmp_path / "run", labels=Y.repeat(4))


def test_a_run_without_these_test_data_is_not_taken_for_one_with_them(
    go: Go, planted: Planted, tmp_path: Path
) -> None:
    out, test = tmp_path / "run", (planted.features, planted.truth)
    go(out=out)
    with pytest.raises(RunError, match="test None there and 'float32"):
        go(out=out, test=test)
    go(out=tmp_path / "other", test=test)
    assert "test_accuracy" in (go(out=tmp_path / "other", test=test).history or [{}])[-1]
    with pytest.raises(RunError, match="test 'float32"):
        go(out=tmp_path / "other", test=(planted.features, planted.given))


def test_what_fails_before_training_leaves_the_folder_free(go: Go, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="did you mean 'neighbor_vote'"):
        go(out=out, initial_selection="neighbour_vote")
    with pytest.raises(InputError, match="the noise rate cannot be estimated"):
        go(out=out, method="co_teaching", features=np.zeros((120, 2)))
    assert not out.exists()
    go(out=out, initial_selection="neighbor_vote")
    before = sorted(entry.name for entry in out.iterdir())
    with pytest.raises(RunError, match="other data or settings"):
        go(out=out, initial_selection="neighbour_vote")
    assert sorted(entry.name for entry in out.iterdir()) == before


def test_divergence_is_explained(go: Go) -> None:
    message = "training has diverged.*Lower the learning rate"
    with pytest.raises(RunError, match=f"the loss is .* at epoch .*{message}"):
        go(params={"weight_decay": 1e30}, epochs=8, backbone="mlp")
    with pytest.raises(RunError, match=f"answers with NaN.*{message}"):
        go(params={"lr": 1000, "weight_decay": 3e38}, epochs=1)


def test_batch_norm_over_one_row_is_explained(go: Go, planted: Planted) -> None:
    options = {"backbone": "mlp", "backbone_options": {"norm": "batch"}}
    only = np.arange(len(planted.given)) == 0
    with pytest.raises(InputError, match="a batch holds a single row"):
        go(initial_selection=only, **options)


def test_an_audit_of_other_rows_is_refused(go: Go, planted: Planted) -> None:
    import tamis

    other = tamis.audit(features=X, labels=Y)
    with pytest.raises(InputError, match="the audit is of 30 rows, the data have 120"):
        go(audit=other)
    with pytest.raises(InputError, match="an audit of 30 rows"):
        go(initial_selection=other)


def test_new_data_of_another_kind_are_refused(go: Go, planted: Planted) -> None:
    texts = pd.DataFrame({"text": ["one sort", "another one"] * 6, "label": [0, 1] * 6})
    with pytest.raises(InputError, match="trained on features that were given to it, and the data hold text"):
        go().predict(texts)

    def encoder(samples: list[str]) -> np.ndarray:
        return np.array([[len(sample), sample.count("o")] for sample in samples], dtype=np.float32)

    model = go(data=texts, features=..., labels=..., encoder=encoder)
    with pytest.raises(
        InputError, match=r"encodes its inputs itself, with .*, and the data hold features alone"
    ):
        model.predict(planted.features)
