import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.encoders.token_windows import Windows, batches, split_texts


class WordTokenizer:
    """One token a word (its length), 100 before each window."""

    def __call__(self, text, *, max_length, **options):
        found = {"input_ids": [], "overflow_to_sample_mapping": []}
        for index, one in enumerate(text):
            words = [len(word) for word in one.split()]
            room = max_length - 1
            for start in range(0, max(1, len(words)), room):
                found["input_ids"].append([100, *words[start : start + room]])
                found["overflow_to_sample_mapping"].append(index)
        return found


def test_windows_by_hand():
    texts = ["a bb ccc", "", "a a a a a"]
    windows = split_texts(WordTokenizer(), texts, max_tokens=3, max_windows=2)
    assert windows.tokens == [[100, 1, 2], [100, 3], [100], [100, 1, 1], [100, 1, 1]]
    assert windows.owner == [0, 0, 1, 2, 2]
    assert windows.n_cut == 1


def test_endless_text_is_cut_before_it_is_split():
    windows = split_texts(WordTokenizer(), ["a " * 10_000_000], max_tokens=3, max_windows=2)
    assert len(windows.tokens) == 2
    assert windows.n_cut == 1


@given(st.lists(st.integers(1, 128), min_size=1, max_size=60), st.integers(1, 8), st.booleans())
def test_every_window_comes_once_in_a_shape_of_its_own_length(lengths, rows, full):
    windows = Windows([list(range(1, length + 1)) for length in lengths], list(range(len(lengths))), 0)
    seen = []
    for batch in batches(windows, rows=rows, max_tokens=128, pad_token=0, is_padded_fully=full):
        assert batch.tokens.shape == batch.mask.shape
        assert len(batch.tokens) == rows
        assert (batch.mask.sum(axis=1) >= 1).all()
        for row, owner in enumerate(batch.owner):
            length = lengths[owner]
            assert batch.tokens.shape[1] == (128 if full else -(-length // 32) * 32)
            assert np.array_equal(batch.tokens[row][batch.mask[row] == 1], np.arange(1, length + 1))
        seen += batch.owner.tolist()
    assert sorted(seen) == list(range(len(lengths)))
