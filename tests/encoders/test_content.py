import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.encoders.content import content_key, plan_encoding

DIGESTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def as_digests(pairs):
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)


@given(DIGESTS, st.sets(st.integers(0, 29)))
def test_plan_agrees_with_a_loop(pairs, bad):
    problems = {row: "bad" for row in bad if row < len(pairs)}
    rows, same_as, seen = [], [], {}
    for row, pair in enumerate(pairs):
        if row in problems:
            same_as.append(-1)
        elif pair != (0, 0) and pair in seen:
            same_as.append(seen[pair])
        else:
            seen[pair] = len(rows)
            same_as.append(len(rows))
            rows.append(row)
    plan = plan_encoding(as_digests(pairs), problems)
    assert plan.rows.tolist() == rows
    assert plan.same_as.tolist() == same_as


def test_every_part_changes_the_key():
    one = as_digests([(1, 2), (3, 4)])
    keys = {
        content_key("a", one, {}),
        content_key("b", one, {}),
        content_key("a", one[::-1], {}),
        content_key("a", one[:1], {}),
        content_key("a", one, {1: "bad"}),
        content_key("a", one, {0: "bad"}),
    }
    assert len(keys) == 6
    assert content_key("a", one, {1: "bad"}) == content_key("a", one.copy(), {1: "worded otherwise"})
