"""How a file is probably written, judged by its beginning: settings of a table, each with the reason.

Nothing is guessed that ingest decides by itself: the encoding and the format of a known extension, for instance, are
left to `auto` and only named in the reasons.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.data.config import TableConfig
from recsys.data.files.delimited import DEFAULT_DELIMITERS
from recsys.data.files.encoding import encoding_of
from recsys.data.files.find import Format, extension_format, format_of
from recsys.data.files.lines import LineCounter
from recsys.data.files.stream import open_bytes, readable, text_blocks
from recsys.data.files.typed import plain_names

__all__ = ["Sniffed", "sniff", "sniff_delimiter", "sniff_header", "sniff_marks"]

_BYTES = 1 << 18
_ROWS = 200
_NAMES = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "pipe",
    "::": "two colons",
    "||": "two pipes",
    "blanks": "runs of blanks",
}
_MISSING = {"", "na", "n/a", "nan", "null", "none", "\\n", "-", "?"}
_MARKS = [(decimal, thousands) for decimal in ".," for thousands in (None, ".", ",", " ", "'") if decimal != thousands]
_NUMBER = re.compile(r"[+-]?(\d+([.,' \u00a0]\d+)*([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}[-/]\d\d?[-/]\d\d?([ T].*)?|\d\d?[./-]\d\d?[./-]\d{4}( .*)?|\d\d?:\d\d(:\d\d.*)?")


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the beginning of a file looks like.

    Attributes:
        format: Of the file.
        settings: Settings of `TableConfig` that the file needs and that were not set: format, delimiter, quoting,
            decimal, thousands.
        reasons: Why, by setting; also `encoding` and `header`, in words.
        has_header: Whether the first row names the columns; if not, `header` must be set by who knows the names.
        rows: The first rows as cells, the header included; empty for formats that know their columns.
    """

    format: Format
    settings: dict[str, Any]
    reasons: dict[str, str]
    has_header: bool
    rows: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> int:
        """Cells of the first row."""
        return len(self.rows[0]) if self.rows else 0


def sniff(path: Path, config: TableConfig) -> Sniffed:
    """Looks at the beginning of a file; what the settings say is not guessed.

    Raises:
        DataError: The file cannot be unpacked.
    """
    with readable(path, "csv"):
        return _sniff(path, config)


def _sniff(path: Path, config: TableConfig) -> Sniffed:
    kind, settings, reasons = _format(path, config)
    if kind in ("parquet", "excel", "jsonl"):
        return Sniffed(kind, settings, reasons, config.header is None, ())
    encoding = encoding_of(path, config)
    if not encoding.assumed:
        reasons["encoding"] = f"{encoding.name}: {encoding.reason}"
    text = _beginning(path, encoding.name)
    usual = DEFAULT_DELIMITERS[kind]
    delimiter = config.delimiter or sniff_delimiter(text, usual)
    if config.delimiter is None and delimiter != usual:
        settings["delimiter"] = delimiter
        settings.pop("format", None)
        reasons["delimiter"] = f"cells are set apart by {_NAMES[delimiter]}"
    if config.quoting == "auto" and _hides_rows(text, delimiter):
        settings["quoting"] = "none"
        reasons["quoting"] = "a cell begins with a quote that nothing closes"
    rows = _rows(text, delimiter, quotes=settings.get("quoting", config.quoting) != "none")
    has_header, reasons["header"] = (False, "set") if config.header is not None else sniff_header(rows)
    marks = sniff_marks(rows[1:] if has_header else rows)
    for name in marks.keys() - config.model_fields_set:
        settings[name], reasons[name] = marks[name]
    return Sniffed(kind, settings, reasons, has_header, tuple(map(tuple, rows)))


def sniff_delimiter(text: str, usual: str = ",") -> str:
    r"""The delimiter that cuts the lines into the same number of cells, more than one.

    Args:
        text: The first lines of a file.
        usual: Preferred among equals.

    Returns:
        One of `,;\t|`, `::`, `||` and `blanks`; `usual` when no delimiter cuts anything.

    Example:
        >>> sniff_delimiter("user;item;price\n1;2;3\n"), sniff_delimiter("1::1193::5\n1::661::3\n")
        (';', '::')
    """
    fits = {delimiter: _fit(text, delimiter, usual) for delimiter in _NAMES}
    # Each of these holds another one, or is held by the text of cells: they count if they cut nearly every line.
    for special in ("::", "||"):
        if fits[special][0] >= 0.9:
            return special
    blanks = fits.pop("blanks")
    best = max(fits, key=lambda delimiter: fits[delimiter])
    if fits[best][0] < 0.9 and blanks[0] >= 0.9:
        return "blanks"
    return best if fits[best][0] > 0 else usual


def sniff_header(rows: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Whether the first row names the columns, and why.

    A word above numbers or times is a name; a number above numbers is a value.

    Example:
        >>> sniff_header([["user", "101"], ["3", "0"]])
        (True, "'user' stands above numbers or times")
        >>> sniff_header([["196", "242"], ["186", "302"]])
        (False, "'196' is a value like those below it")
    """
    if len(rows) < 2:
        values = [cell for cell in rows[0] if _is_value(cell)] if rows else []
        return (False, f"{values[0]!r} is a value") if values else (True, "it holds no values")
    first, body = rows[0], rows[1:]
    if plain_names(first) != list(first):
        return True, "it declares the types of the columns"
    if len(first) > 2 and list(first) == [str(number) for number in range(len(first))]:
        return True, "it numbers the columns"
    valued = [_are_values([row[at] for row in body if at < len(row)]) for at in range(len(first))]
    for cell, is_valued in zip(first, valued, strict=True):
        if is_valued and not _is_value(cell) and cell.strip().lower() not in _MISSING:
            return True, f"{cell!r} stands above numbers or times"
    for cell, is_valued in zip(first, valued, strict=True):
        if is_valued and _is_value(cell):
            return False, f"{cell!r} is a value like those below it"
    again = [cell for at, cell in enumerate(first) if cell and any(row[at : at + 1] == [cell] for row in body)]
    if 2 * len(again) > len(first):
        return False, f"{again[0]!r} comes again below it"
    return True, "its cells come nowhere below it"


def sniff_marks(rows: Sequence[Sequence[str]]) -> dict[str, tuple[str, str]]:
    """The decimal mark and the mark between groups of digits, where these are not `.` and nothing; with the reasons.

    Example:
        >>> sniff_marks([["1.234,50"], ["3,5"]])
        {'decimal': (',', "'1.234,50' is a number"), 'thousands': ('.', "'1.234,50' is a number")}
    """
    found: dict[str, tuple[str, str]] = {}
    for at in range(max(map(len, rows), default=0)):
        cells = [row[at].strip() for row in rows if at < len(row) and row[at].strip().lower() not in _MISSING]
        for decimal, thousands in _MARKS if cells else ():
            example = _example(cells, decimal, thousands)
            if example is not None:
                marks = {"decimal": decimal if decimal != "." else None, "thousands": thousands}
                for name, mark in marks.items():
                    if mark is not None:
                        found.setdefault(name, (mark, f"{example!r} is a number"))
    contradict = found.get("decimal", (".",))[0] == found.get("thousands", ("",))[0]
    return {} if contradict else found


def _example(cells: Sequence[str], decimal: str, thousands: str | None) -> str | None:
    """A cell that shows the marks of a column which can be read with these, and not without them."""
    group, point = re.escape(thousands or ""), re.escape(decimal)
    whole = rf"(\d{{1,3}}|[1-9]\d{{0,2}}({group}\d{{3}})+)" if thousands else r"\d+"
    pattern = re.compile(rf"[+-]?{whole}({point}\d+)?")
    if not all(map(pattern.fullmatch, cells)):
        return None
    shown = [cell for cell in cells if (thousands or decimal) in cell]
    if not shown:
        return None
    if thousands is None:
        # Three digits behind a comma could be a group.
        sure = decimal == "," and any(
            len(cell.rpartition(",")[2]) != 3 or cell.lstrip("+-").startswith("0,") for cell in shown
        )
    else:
        # And one group could be a fraction.
        several = any(cell.count(thousands) > 1 for cell in shown)
        sure = several or any(decimal in cell for cell in cells) or (decimal == "." and len(shown) > 1)
    return max(shown, key=len) if sure else None


def _format(path: Path, config: TableConfig) -> tuple[Format, dict[str, Any], dict[str, str]]:
    if config.format != "auto" or config.delimiter is not None or extension_format(path) is not None:
        return format_of(path, config), {}, {}
    with open_bytes(path) as stream:
        start = stream.read(_BYTES)
    kind, reason = _content_format(start)
    return kind, {"format": kind}, {"format": reason}


def _content_format(start: bytes) -> tuple[Format, str]:
    if start.startswith(b"PAR1"):
        return "parquet", "it begins like Parquet"
    if start.startswith(b"PK\3\4"):
        return "excel", "it is an archive, such as .xlsx files are"
    try:
        if isinstance(json.loads(start.strip().splitlines()[0]), dict):
            return "jsonl", "its first line is a JSON object"
    except (ValueError, IndexError):
        pass
    return "csv", "it is text"


def _beginning(path: Path, encoding: str) -> str:
    text = next(text_blocks(path, encoding, _BYTES), b"")
    if len(text) >= _BYTES // 4:
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1] or text
    return text.decode("utf-8", "replace")


def _rows(text: str, delimiter: str, *, quotes: bool = True) -> list[list[str]]:
    """The first rows of a text, as far as they can be read."""
    if delimiter == "blanks":
        lines = [line.split() for line in text.splitlines()[:_ROWS]]
        return [cells for cells in lines if cells]
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in text.splitlines()[:_ROWS] if line]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows += [row] if row else []
            if len(rows) == _ROWS:
                break
    except csv.Error:
        pass
    return rows


def _fit(text: str, delimiter: str, usual: str) -> tuple[float, int, bool]:
    widths = Counter(len(row) for row in _rows(text, delimiter))
    if not widths:
        return 0.0, 1, False
    width, count = max(widths.items(), key=lambda entry: (entry[1], entry[0]))
    return (count / widths.total() if width > 1 else 0.0), width, delimiter == usual


def _hides_rows(text: str, delimiter: str) -> bool:
    """Whether a quoted cell of the text holds whole rows."""
    if len(delimiter) > 1 or '"' not in text:
        return False
    header = next(iter(_rows(text, delimiter)), [])
    counter = LineCounter(delimiter.encode(), len(header), quotes=True)
    for _ in counter.watch([text.encode()], 2 * len(text.encode()) + 1):
        pass
    return any(span.swallows for span in counter.spans)


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell.strip()) or _TIME.fullmatch(cell.strip()))


def _are_values(cells: Sequence[str]) -> bool:
    """Whether nearly all cells of a column that are not missing are numbers or times."""
    known = [cell for cell in cells if cell.strip().lower() not in _MISSING]
    return bool(known) and sum(map(_is_value, known)) >= 0.9 * len(known)
