"""The container of crowd answers: ids, missing answers, repeats, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.crowd import Answers, as_answers
from tamis.crowd.answers import join_answers
from tamis.crowd.ids import code_among, code_ids, join_ids
from tamis.crowd.said import said_of
from tamis.errors import InputError


def triples(answers):
    """Return the answers as a sorted list of (task, worker, label) ids."""
    columns = (
        answers.tasks[answers.task],
        answers.workers[answers.worker],
        answers.classes[answers.label],
    )
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_three_columns_by_hand():
    answers = Answers.from_arrays(["t2", "t1", "t2"], [9, 4, 4], ["b", "a", "a"])
    assert answers.tasks.tolist() == ["t1", "t2"]
    assert answers.workers.tolist() == [4, 9]
    assert (answers.task.tolist(), answers.worker.tolist(), answers.label.tolist()) == (
        [1, 0, 1],
        [1, 0, 0],
        [1, 0, 0],
    )
    assert repr(answers) == "<Answers: 3 by 2 workers about 2 tasks, 2 classes>"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_labels_are_left_out_with_a_note(missing):
    answers = Answers.from_arrays(["a", "b", "c"], [1, 2, 1], ["x", missing, "y"])
    assert answers.rows.tolist() == [0, 2]
    assert answers.tasks.tolist() == ["a", "c"], "a task that nobody answered is not a task"
    assert answers.workers.tolist() == [1]
    assert answers.notes == ("1 of 3 answers has no label and was left out.",)
    listed = Answers.from_arrays(["a", "b"], [1, 2], ["x", missing], tasks=["a", "b"], workers=[2, 1])
    assert listed.tasks.tolist() == ["a", "b"]
    assert listed.workers.tolist() == [2, 1]


def test_whole_numbers_that_became_real_beside_a_gap():
    frame = pd.DataFrame({"task": [1, 1, 2], "worker": [1, 2, 1], "label": [0, 1, np.nan]})
    answers = Answers.from_table(frame)
    assert answers.classes.dtype == np.int64
    assert answers.classes.tolist() == [0, 1]


def test_every_kind_of_table_gives_the_same(crowd):
    expected = triples(Answers.from_table(crowd.table))
    renamed = crowd.table.rename(columns={"task": "item", "worker": "Annotator", "label": "response"})
    for source in (
        renamed,
        pa.Table.from_pandas(crowd.table),
        {name: crowd.table[name].tolist() for name in crowd.table},
        crowd.columns(),
        crowd.table.astype("Int64"),
        crowd.table.sample(frac=1, random_state=1),
    ):
        assert triples(as_answers(source)) == expected
    answers = as_answers(crowd.table)
    assert as_answers(answers) is answers


def test_matrix_of_annotators():
    for matrix in (
        [[0, None, 1], [None, None, None], [2, 2, None]],
        np.array([[0, -1, 1], [-1, -1, -1], [2, 2, -1]]),
        pd.DataFrame([[0, np.nan, 1], [np.nan] * 3, [2, 2, np.nan]]),
    ):
        answers = Answers.from_matrix(matrix)
        assert triples(answers) == [(0, 0, 0), (0, 2, 1), (2, 0, 2), (2, 1, 2)]
        assert (answers.n_tasks, answers.n_workers) == (3, 3)
    assert as_answers(np.array([[0, 1]])).n_workers == 2
    assert Answers.from_matrix([["x", None], ["y", "x"]]).classes.tolist() == ["x", "y"]


def test_repeats_count_as_often_as_they_occur():
    answers = Answers.from_arrays([1, 1, 1], ["a", "a", "b"], [0, 0, 1])
    assert said_of(answers).counts.toarray().tolist() == [[2.0, 1.0]]
    assert said_of(answers).n_answers == 3


def test_many_possible_pairs_take_the_other_path():
    answers = Answers.from_arrays([1, 1], [0, 1], [0, 1], workers=range(300), classes=range(300))
    said = said_of(answers)
    assert said.worker.tolist() == [0, 1]
    assert said.label.tolist() == [0, 1]


@given(st.lists(st.one_of(st.integers(-(2**40), 2**40), st.text(max_size=3), st.none()), max_size=30))
def test_codes_lead_back_to_their_ids(values):
    codes, ids = code_ids(values, "task")
    back = [None if code < 0 else ids[code] for code in codes]
    assert all(one is None if two is None else one == two for one, two in zip(back, values, strict=True))
    assert len(set(ids.tolist())) == len(ids)
    turned = code_ids(values[::-1], "task")
    assert turned.ids.tolist() == ids.tolist(), "codes do not depend on the order of rows"


def test_codes_of_narrow_and_wide_numbers_agree():
    narrow = np.array([5, 3, 5, 9])
    wide = narrow + np.array([0, 0, 0, 10**12])
    assert code_ids(narrow, "x").codes.tolist() == code_ids(wide, "x").codes.tolist() == [1, 0, 1, 2]
    assert code_among(narrow, np.array([9, 5]), "x").tolist() == [1, -1, 1, 0]
    assert code_among(wide, np.array([10**12 + 9, 5]), "x").tolist() == [1, -1, 1, 0]
    assert code_ids(np.array([7, 8], dtype=np.uint8), "x").ids.tolist() == [7, 8]


def test_joining_ids_keeps_the_first_codes():
    joined, codes = join_ids(np.array(["b", "a"]), np.array(["a", "longer"]))
    assert joined.tolist() == ["b", "a", "longer"]
    assert codes.tolist() == [1, 2]
    mixed, _ = join_ids(np.array([1, 2]), np.array(["a"]))
    assert mixed.tolist() == [1, 2, "a"]


def test_joined_answers_do_not_depend_on_the_order_of_parts(crowd):
    parts = [as_answers(crowd.columns(slice(start, start + 70))) for start in range(0, 240, 70)]
    whole = Answers.from_table(crowd.table)
    for some in (parts, parts[::-1]):
        joined = join_answers(some)
        assert triples(joined) == triples(whole)
        assert joined.tasks.tolist() == whole.tasks.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Answers.from_arrays([1, 2], [1], [0]), "different lengths"),
        (lambda: Answers.from_arrays([1, None], [1, 1], [0, 0]), "task row 1 is missing"),
        (lambda: Answers.from_arrays([1], [1], [None]), "there is no answer"),
        (lambda: Answers.from_arrays([], [], []), "there is no answer"),
        (lambda: Answers.from_arrays([1], [1], [0.5]), "label holds 0.5"),
        (lambda: Answers.from_arrays([1], [1], ["x"], classes=["y"]), "label row 0 is 'x', which is not"),
        (lambda: Answers.from_arrays([1], [1], [0], classes=[0, 0]), "classes lists|label lists"),
        (lambda: Answers.from_arrays([1], [1], [0], tasks=[1, None]), "holds a missing value"),
        (lambda: Answers.from_arrays([[1]], [1], [0]), "expected one id a row"),
        (lambda: Answers.from_table({"item": [1], "label": [0]}), "no worker column among"),
        (lambda: Answers.from_table({"a": [1], "worker": [1], "label": [0]}, task="b"), "task='b' is not"),
        (lambda: Answers.from_table({"worker": [1], "label": [0]}, task="worker"), "plays two roles"),
        (lambda: Answers.from_matrix([1, 2]), r"expected \(tasks, annotators\)"),
        (lambda: as_answers([1, 2]), "answers is a list"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
