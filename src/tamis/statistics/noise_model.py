"""The noise model of an audit: class evidence, a transition matrix, and annotators who err on hard rows.

The model of one row, with evidence e_1, e_2, ... (log-probabilities of classes, (K,) each):

    q(y)        = softmax( sum_m w_m e_m + e_1 M + c )                     P(true = y | x)
    P(s | y, x) = (1 - u) * A[y, s] q(s)^g / sum_s' A[y, s'] q(s')^g + u/K P(given = s | true = y, x)

The first part of the noise is a transition matrix A whose entries lean, by the exponent g, towards classes
that look plausible for this row: people mistake a cat for a dog where the picture is unclear. The second
part, of weight u, is noise that never looked at the row. `tamis.statistics.noise_posterior` fits the
parameters; the posterior of the true class follows by Bayes' rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tamis.types import FloatArray, IntArray

LEAST_LEAN = -30.0
"""Of g log q: a class that the evidence rules out stays possible as a slip."""

_APPLY_CELLS = 4_000_000


@dataclass(frozen=True)
class NoiseModel:
    """Fitted parameters; all tensors float64.

    Attributes
    ----------
    weights : (m,) tensor
        One weight per kind of evidence.
    mixing : (K, K) tensor
        Linear correction of the first evidence.
    bias : (K,) tensor
    affinity : (K, K) tensor
        Logarithm of A; rows true classes.
    uniform_logit : () tensor
        Logit of u.
    ambiguity : float
        Exponent g.
    """

    weights: torch.Tensor
    mixing: torch.Tensor
    bias: torch.Tensor
    affinity: torch.Tensor
    uniform_logit: torch.Tensor
    ambiguity: float

    @property
    def uniform_share(self) -> float:
        """Weight u of the noise that never looked at the row."""
        return float(torch.sigmoid(self.uniform_logit))

    def log_class_probs(self, evidence: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return log q, (n, K): the probability of each class before the given label is looked at."""
        pieces = [centred(e) for e in evidence]
        logits = pieces[0] @ self.mixing + self.bias
        for weight, values in zip(self.weights, pieces, strict=True):
            logits = logits + weight * values
        return torch.log_softmax(logits, 1)

    def log_joint(self, evidence: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Return log P(true = y, given = label), (n, K)."""
        log_q = self.log_class_probs(evidence)
        return log_q + self._log_given(log_q, labels)

    def _log_given(self, log_q: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        lean = (self.ambiguity * log_q).clamp(min=LEAST_LEAN)
        # norm[i, y] = log sum_s A[y, s] q_i(s)^g
        norm = torch.log(lean.exp() @ self.affinity.exp().T)
        structured = self.affinity[:, labels].T + lean.gather(1, labels[:, None]) - norm
        keep = torch.nn.functional.logsigmoid(-self.uniform_logit)
        uniform = torch.nn.functional.logsigmoid(self.uniform_logit) - math.log(log_q.shape[1])
        return torch.logaddexp(keep + structured, uniform)

    def posterior(self, evidence: Sequence[FloatArray], labels: IntArray) -> FloatArray:
        """Return P(true class | evidence, given label), (n, K) float32, rows summing to 1.

        Parameters
        ----------
        evidence : sequence of (n, K) arrays
            As in `fit_noise_model`.
        labels : (n,) int
            Given labels, in [0, K); -1 = unlabelled, the row then gets q.
        """
        result = np.empty(evidence[0].shape, dtype=np.float32)
        for rows in self._blocks(evidence):
            result[rows] = self._posterior(evidence, labels, rows).numpy()
        return result

    def label_probs(self, evidence: Sequence[FloatArray], labels: IntArray) -> FloatArray:
        """Return P(the given label is right), (n,) float64: the posterior at the given label only."""
        result = np.empty(len(labels))
        for rows in self._blocks(evidence):
            given = torch.from_numpy(labels[rows]).long()
            result[rows] = self._posterior(evidence, labels, rows).gather(1, given[:, None])[:, 0].numpy()
        return result

    def _blocks(self, evidence: Sequence[FloatArray]) -> Iterator[slice]:
        n_rows, n_classes = evidence[0].shape
        step = max(1, _APPLY_CELLS // (n_classes * 8))
        for start in range(0, n_rows, step):
            yield slice(start, min(n_rows, start + step))

    def _posterior(self, evidence: Sequence[FloatArray], labels: IntArray, rows: slice) -> torch.Tensor:
        codes = torch.from_numpy(labels[rows]).long()
        log_q = self.log_class_probs([float64_tensor(e[rows]) for e in evidence])
        joint = log_q + self._log_given(log_q, codes.clamp(min=0))
        return torch.softmax(torch.where((codes >= 0)[:, None], joint, log_q), 1)


def float64_tensor(block: FloatArray) -> torch.Tensor:
    """Return a float64 copy of an array as a tensor."""
    return torch.from_numpy(block.astype("float64"))


def centred(evidence: torch.Tensor) -> torch.Tensor:
    """Return the rows minus their means: what a softmax sees of them."""
    return evidence - evidence.mean(1, keepdim=True)
