"""Hyper-parameters: names, types, what the command line makes of them."""

from __future__ import annotations

from typing import Literal

import pytest

from tamis.cli.assignments import assignments
from tamis.errors import InputError
from tamis.methods import METHODS
from tamis.methods.recipe import Recipe
from tamis.training.settings import _as_type, checked, checked_options, options_of, split_params


@pytest.mark.parametrize("name", METHODS.names())
def test_defaults_are_of_their_own_types(name: str) -> None:
    kind = METHODS.get(name)
    for option, parameter in options_of(kind).items():
        assert checked(option, parameter.default, kind) == parameter.default


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        (1, float, 1.0),
        (1.5, float, 1.5),
        (1, int | None, 1),
        (None, int | None, None),
        ("a", Literal["a", "b"], "a"),
        (0.5, float | Literal["estimate"], 0.5),
        ("estimate", float | Literal["estimate"], "estimate"),
        ([1, 2], tuple[int, ...], (1, 2)),
        (7, tuple[int, ...], (7,)),
        (True, bool, True),
    ],
)
def test_values_become_the_type_that_is_asked_for(value: object, wanted: object, expected: object) -> None:
    found = _as_type("x", value, wanted)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "wanted", "said"),
    [
        ("a", float, "a number"),
        (1.5, int, "a whole number"),
        (1, bool, "true or false"),
        (True, int, "a whole number"),
        ("c", Literal["a", "b"], "'a', 'b'"),
        (None, float, "a number"),
        ([1.0], float, "a number"),
        ("x", int | None, "a whole number or nothing"),
        (3, str, "a word"),
    ],
)
def test_other_types_are_refused(value: object, wanted: object, said: str) -> None:
    with pytest.raises(InputError, match=f"x is .*; expected {said}"):
        _as_type("x", value, wanted)


def test_params_go_to_the_method_or_its_recipe() -> None:
    own, recipe = split_params("gce", {"q": 0.5, "lr": 1, "milestones": [0.4], "patience": 3}, 7)
    assert own == {"q": 0.5}
    assert (recipe.lr, recipe.milestones, recipe.patience, recipe.epochs) == (1.0, (0.4,), 3, 7)
    assert split_params("cross_entropy", None, None)[1] == METHODS.get("cross_entropy").recipe


def test_the_course_of_the_learning_rate() -> None:
    warm = Recipe(epochs=10, warmup=2, schedule="constant")
    assert [warm.lr_factor(each) for each in (0, 1, 2, 9)] == [0.0, 0.5, 1.0, 1.0]
    steps = Recipe(epochs=10, schedule="steps", milestones=(0.5, 0.8))
    assert [round(steps.lr_factor(each), 6) for each in (4.9, 5, 8, 10)] == [1.0, 0.1, 0.01, 0.01]
    cosine = Recipe(epochs=10, schedule="cosine")
    assert [round(cosine.lr_factor(each), 6) for each in (0, 5, 10)] == [1.0, 0.5, 0.0]
    linear = Recipe(epochs=10, schedule="linear", milestones=(0.5,))
    assert [round(linear.lr_factor(each), 6) for each in (2, 5, 7.5, 10)] == [1.0, 1.0, 0.5, 0.0]


def test_options_of_backbones() -> None:
    assert checked_options("mlp", {"hidden": 8, "dropout": 0}) == {"hidden": (8,), "dropout": 0.0}
    assert checked_options("mlp", None) == {}
    with pytest.raises(InputError, match="norm is 'layer'; expected 'none', 'batch'"):
        checked_options("mlp", {"norm": "layer"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["lr"], "no assignment"),
        (["=3"], "no assignment"),
        (["a=1", "a=2"], "given twice"),
        (["a=1,x"], "numbers alone"),
    ],
)
def test_wrong_assignments(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assignments("--param", given)


def test_assignments() -> None:
    given = ["a-b=1", "c=1e-3", "d=true", "e=null", "f=word", "g=1,2", "h=[3]", "i=a=b"]
    expected = {"a_b": 1, "c": 0.001, "d": True, "e": None, "f": "word", "g": (1, 2), "h": "[3]", "i": "a=b"}
    assert assignments("--param", given) == expected


def test_inherited_parameters_have_their_types() -> None:
    """`metric` takes the constructor of its parent: its slips are found, too."""
    with pytest.raises(InputError, match="selector is 'prsim'; expected 'none', 'prism_average'"):
        split_params("metric", {"selector": "prsim"}, None)
    with pytest.raises(InputError, match="margin is 'wide'; expected a number or nothing"):
        split_params("metric", {"margin": "wide"}, None)
    assert split_params("metric", {"warmup": 1}, None)[0] == {"warmup": 1.0}
