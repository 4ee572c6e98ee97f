"""Checks of embeddings and labels."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.labelled_embeddings import finite_embeddings, labelled_embeddings


def test_precision_and_types():
    for dtype, kept in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64,) * 2,
    ):
        rows, codes = labelled_embeddings(
            torch.ones(2, 3, dtype=dtype), torch.tensor([0, 5], dtype=torch.int32)
        )
        assert rows.dtype == kept
        assert codes.dtype == torch.int64
    rows, codes = labelled_embeddings(torch.ones(0, 3), torch.zeros(0).long(), 4)
    assert rows.shape == (0, 3)
    assert finite_embeddings(torch.ones(2, 3, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.ones(2, 3).long(), [0, 1], "embeddings is torch.int64"),
        ([[1.0]], [0], "embeddings is list"),
        (torch.ones(2), [0, 1], r"embeddings has shape \(2,\)"),
        (torch.ones(2, 0), [0, 1], r"embeddings has shape \(2, 0\)"),
        (torch.tensor([[1.0], [torch.inf]]), [0, 1], "embeddings row 1 holds NaN or infinity"),
        (torch.ones(2, 3), [0, 1, 1], r"labels has shape \(3,\); expected \(2,\)"),
        (torch.ones(2, 3), [0.0, 1.0], "labels is torch.float32"),
        (torch.ones(2, 3), [0, 7], "labels row 1 is 7; expected a class code from 0 to 6"),
        (torch.ones(2, 3), [-1, 0], "labels row 0 is -1"),
    ],
)
def test_refusals(embeddings, labels, message):
    with pytest.raises(InputError, match=message):
        labelled_embeddings(embeddings, torch.tensor(labels), 7)


def test_names_in_messages():
    with pytest.raises(InputError, match="ref_labels is NoneType"):
        labelled_embeddings(torch.ones(2, 3), None, prefix="ref_")
    with pytest.raises(InputError, match="ref_emb row 0 holds NaN"):
        labelled_embeddings(torch.full((1, 2), torch.nan), torch.tensor([0]), prefix="ref_")
