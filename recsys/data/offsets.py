"""Times that two columns say together: a day or the start of a session, and the time since."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.tables import TIMESTAMP_TYPE

__all__ = ["CLOCK", "OffsetUnit", "add_offset"]

OffsetUnit = Literal["s", "ms", "us", "min", "h", "clock"]

CLOCK = r"^\s*(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d{1,9})?))?\s*$"
"""A time of day."""
_MICROS: dict[str, float] = {"us": 1.0, "ms": 1e3, "s": 1e6, "min": 6e7, "h": 3.6e9}
_LATEST = 253_402_300_799_999_999  # µs of the year 9999


def add_offset(times: pa.Array, offsets: pa.Array, unit: OffsetUnit) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The moments, and which offsets cannot be added.

    Args:
        times: In the canonical type, shape (N,).
        offsets: float64; text with `unit: clock`.
        unit: Of the offsets.

    Example:
        >>> day = pa.array([1_700_006_400], pa.timestamp("s", tz="UTC")).cast(TIMESTAMP_TYPE)
        >>> add_offset(day, pa.array([90_000.0]), "ms")[0][0].as_py().isoformat()
        '2023-11-15T00:01:30+00:00'
    """
    micros = _clock(offsets) if unit == "clock" else _floats(offsets) * _MICROS[unit]
    start = times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    fits = np.isfinite(micros) & (np.abs(start + np.nan_to_num(micros)) <= _LATEST)
    null = ~fits | times.is_null().to_numpy(zero_copy_only=False)
    moments = start + np.rint(np.where(fits, micros, 0.0)).astype(np.int64)
    return pa.array(moments, pa.int64(), mask=null).cast(TIMESTAMP_TYPE), ~fits


def _floats(values: pa.Array) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found


def _clock(text: pa.Array) -> NDArray[np.float64]:
    """Microseconds since midnight, NaN where it is no time of day."""
    parts = pc.extract_regex(text, pattern=CLOCK)
    hours, minutes, seconds = (pc.struct_field(parts, name) for name in ("h", "m", "s"))
    seconds = pc.if_else(pc.equal(seconds, ""), "0", seconds)
    return (_floats(hours) * 3600 + _floats(minutes) * 60 + _floats(seconds)) * 1e6
