"""A composition of stages, called with a batch and the moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from tamis.augment.stages import Draws, Stage
from tamis.errors import InputError

_HALF = (torch.bfloat16, torch.float16)


class Augmentation:
    """Stages applied one after another; a pure function of the batch, the seed, the step and the view.

    What a sample becomes does not depend on the batch it is in, so two processes, or a resumed run, see
    what one uninterrupted process sees.

    Parameters
    ----------
    stages : sequence of Stage
        Such as `ShiftedCrop`, `ColorJitter`, `Normalize`; each with its own ``stream``.
    dtype : torch.dtype, optional
        Of the result, where it is a float; by default that of the inputs, and float32 for bytes that a
        stage made floats of.

    Raises
    ------
    InputError
        Two stages draw from one stream.

    Examples
    --------
    In a loop of one's own, with all images as bytes on the device:

    >>> from tamis.augment import Augmentation, Cutout, Normalize, ShiftedCrop
    >>> augment = Augmentation([ShiftedCrop(), Normalize((0.5,), (0.25,)), Cutout(side=8)])
    >>> images = torch.randint(256, (100, 3, 32, 32), dtype=torch.uint8)
    >>> index = torch.tensor([4, 17, 60])
    >>> batch = augment(images[index], index, seed=0, step=0)
    >>> batch.shape, batch.dtype
    (torch.Size([3, 3, 32, 32]), torch.float32)
    >>> alone = augment(images[17:18], torch.tensor([17]), seed=0, step=0)
    >>> bool((batch[1] == alone[0]).all())
    True
    """

    def __init__(self, stages: Sequence[Stage], *, dtype: torch.dtype | None = None) -> None:
        self.stages = tuple(stages)
        self.dtype = dtype
        twice = [name for name, count in Counter(stage.stream for stage in self.stages).items() if count > 1]
        if twice:
            raise InputError(
                f"two stages draw from the stream {twice[0]!r}; give one of them another stream="
            )

    def __call__(self, inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int = 0) -> Tensor:
        """Return augmented inputs.

        Parameters
        ----------
        inputs : (B, C, H, W) uint8 or float in 0..1, (B, D) float, or what else the stages take
            Stays as it is. Half precision is augmented in float32.
        index : (B,) int64
            Rows of the data set.
        seed, step : int
            Of the run, and how many steps (or epochs) it has done.
        view : int
            Number of the look: views of one step are drawn independently.

        Returns
        -------
        (B, ...) in the memory layout of ``inputs``

        Raises
        ------
        InputError
        """
        if tuple(index.shape) != (len(inputs),):
            raise InputError(
                f"index has shape {tuple(index.shape)}; expected ({len(inputs)},): the row of each sample"
            )
        draws = Draws(seed, step, view, index)
        wanted = self.dtype or inputs.dtype
        result = inputs.float() if inputs.dtype in _HALF and self.stages else inputs
        for stage in self.stages:
            result = stage(result, draws)
        if result.is_floating_point() and wanted.is_floating_point:
            result = result.to(wanted)
        return _in_layout_of(inputs, result)

    def __repr__(self) -> str:
        """Return the stages as they were written."""
        return f"Augmentation([{', '.join(map(repr, self.stages))}])"


def _in_layout_of(inputs: Tensor, result: Tensor) -> Tensor:
    if inputs.ndim != 4 or result.ndim != 4:
        return result
    is_last = inputs.is_contiguous(memory_format=torch.channels_last) and not inputs.is_contiguous()
    return result.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
