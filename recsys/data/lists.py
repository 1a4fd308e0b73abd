"""Published data sets that come as lists, a line a user, made into canonical CSV files.

    user item item item …

Blanks between the ids. One file holds all events of a user in order; or one file each holds those of a window, as
published splits do, which gives the log a column `window`.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from recsys.data.tables import WINDOWS
from recsys.errors import DataError, InputError

__all__ = ["convert_lists"]

_LONGEST = 16 << 20  # characters of a line
_LARGEST = 256 << 20  # bytes of a JSON file


def convert_lists(files: Mapping[str, Path], folder: Path, *, attributes: Path | None = None) -> list[Path]:
    """Writes `interactions.csv`, and `items.csv` where there are attributes, into a folder.

    Args:
        files: the lists by window; one file under the key `""` holds whole histories.
        folder: created where needed.
        attributes: JSON object from item to a list of attributes.

    Returns:
        The paths written.

    Raises:
        InputError: a window is not one of `recsys.data.tables.WINDOWS`, or whole histories stand beside windows.
        DataError: a file cannot be read, or is not of that form.
    """
    odd = sorted(set(files) - set(WINDOWS)) if "" not in files else sorted(set(files) - {""})
    if odd or not files:
        expected = f"one file of whole histories, or files of {', '.join(WINDOWS)}"
        raise InputError(f"found {', '.join(odd) or 'no file'}, expected {expected}")
    folder.mkdir(parents=True, exist_ok=True)
    windowed = "" not in files
    written = [folder / "interactions.csv"]
    with written[0].open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["user_id", "item_id", *(["window"] if windowed else [])])
        for window in sorted(files, key=("", *WINDOWS).index):
            rows.writerows((*pair, *([window] if windowed else [])) for pair in _pairs(files[window]))
    if attributes is not None:
        written.append(folder / "items.csv")
        _write_items(_attributes(attributes), written[-1])
    return written


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Each user with each item, in the order of the file."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST), ""), 1):
                if len(line) == _LONGEST:
                    raise DataError(f"{path}:{number}: found a line of {_LONGEST:,} characters or more, expected less")
                user, *items = line.split() or [""]
                yield from ((user, item) for item in items)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}), expected lines of a user and items") from error


def _attributes(path: Path) -> dict[str, list[str]]:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: found more than {_LARGEST:,} bytes, expected less")
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}), expected JSON") from error
    if not isinstance(known, dict) or not all(isinstance(value, list) for value in known.values()):
        raise DataError(f"{path}: expected an object from item to a list of attributes")
    return {str(item): [str(value) for value in values] for item, values in known.items()}


def _write_items(known: Mapping[str, list[str]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["item_id", "attributes"])
        rows.writerows((item, "|".join(values)) for item, values in known.items())
