"""A pandas data frame -> a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tamis.data.frames import Frame, check_column_names

if TYPE_CHECKING:
    import pandas as pd


def frame_of_data_frame(source: pd.DataFrame) -> Frame:
    """Return the frame of a pandas data frame; NaN, None and NA are null, the index is not used.

    Raises
    ------
    InputError
        If two columns have the same name.
    """
    names = [str(name) for name in source.columns]
    check_column_names(names)
    frame = Frame({}, len(source), "data frame")
    for at, name in enumerate(names):
        series = source.iloc[:, at]
        try:
            column = pa.array(series, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            frame.mixed[name] = series.tolist()
        else:
            frame.columns[name] = (
                column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
            )
    return frame
