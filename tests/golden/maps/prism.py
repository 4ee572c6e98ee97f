"""Golden cases of PRISM: the filter on one batch, and a run of it with its memory."""

from __future__ import annotations

import torch
from golden_case import Case, Golden, Outputs

from tamis.memory import EmbeddingMemory
from tamis.selectors import Prism, prism_filter, prism_scores


def _filter(inputs: Case, params: Case) -> Outputs:
    memory_rows = torch.tensor(inputs["memory_features"], dtype=torch.float64)
    memory = EmbeddingMemory(
        len(memory_rows), memory_rows.shape[1], params["num_classes"], dtype=torch.float64
    )
    memory.enqueue(memory_rows, torch.tensor(inputs["memory_labels"]))
    scores = prism_scores(
        torch.tensor(inputs["embeddings"], dtype=torch.float64),
        torch.tensor(inputs["labels"]),
        memory.sums,
        memory.counts,
        absent_in_denominator=params["absent_class_contributes_exp0_to_denominator"],
    )
    before = torch.tensor(inputs["threshold_window_before"], dtype=torch.float64)
    result = prism_filter(scores, params["noise_rate_R"], before, window=params["window_size"])
    return {
        "class_centers": memory.sums / memory.counts.clamp(min=1)[:, None],
        "class_present_in_memory": memory.counts > 0,
        "p_clean": scores,
        "keep_mask": result.keep,
        "threshold_window_after": result.quantiles,
    }


def _run(inputs: Case, params: Case) -> Outputs:
    steps = torch.tensor(inputs["embeddings_per_step"], dtype=torch.float64)
    size, n_classes = params["memory_size"], params["num_classes"]
    selector = Prism(
        EmbeddingMemory(size, steps.shape[2], n_classes, dtype=torch.float64),
        rate=params["noise_rate_R"],
        window=params["window_size"],
        absent_in_denominator=params.get("absent_class_contributes_exp0_to_denominator", True),
    )
    keep, scores, windows, fill = [], [], [], []
    for embeddings, labels in zip(steps, torch.tensor(inputs["labels_per_step"]), strict=True):
        selection = selector.select(embeddings, labels)
        selector.commit(selection, embeddings, labels)
        keep.append(selection.keep.tolist())
        scores.append(selection.clean_scores.tolist())
        windows.append(selector.quantiles[: int(selector.n_quantiles)].tolist())
        fill.append(int(selector.memory.n_rows))
    return {
        "keep_mask_per_step": keep,
        "p_clean_per_step": scores,
        "threshold_window_per_step": windows,
        "memory_fill_per_step": fill,
    }


def _fifo(inputs: Case, params: Case) -> Outputs:
    """Check that the memory holds the newest rows: the file records that the authors' one does not."""
    memory, seen = EmbeddingMemory(params["size"], params["dim"]), []
    for labels in inputs["labels_enqueued_per_step"]:
        memory.enqueue(torch.ones(len(labels), params["dim"]), torch.tensor(labels))
        seen += labels
        assert sorted(memory.rows.labels.tolist()) == sorted(seen[-params["size"] :])
    return {}


GOLDEN: dict[str, Golden] = {
    "prism_filter": Golden(
        (
            "tamis.memory.EmbeddingMemory",
            "tamis.selectors.prism_scores",
            "tamis.selectors.prism_filter",
        ),
        _filter,
    ),
    "prism_run": Golden(("tamis.memory.EmbeddingMemory", "tamis.selectors.Prism"), _run),
    "prism_xbm_official_behaviour": Golden(
        ("tamis.memory.EmbeddingMemory",), _fifo, informative=("state_per_step",)
    ),
}
