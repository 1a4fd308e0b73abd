"""Which encoding a text file has: by its byte order mark, else UTF-8, else recognised from its bytes."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from recsys.data.config import TableConfig
from recsys.data.files.stream import BLOCK, open_bytes

__all__ = ["Encoding", "encoding_of", "recognise"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 16
# Of the many code pages there are, those that tables are written in; the rest only attracts short samples.
_WESTERN = "cp1252"
_LATIN_SCRIPT = [_WESTERN, "cp1250", "cp1254", "cp1257"]
_OTHER_SCRIPTS = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_SIMILAR = 0.1
_HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding as Python names it.

    Attributes:
        name: Canonical, such as `utf-8` or `cp1252`.
        reason: What told it.
        assumed: Whether it is UTF-8 without further evidence, or set: nothing worth saying.
    """

    name: str
    reason: str
    assumed: bool


def encoding_of(path: Path, config: TableConfig) -> Encoding:
    """The encoding of a text file, from its first block."""
    if config.encoding is not None:
        name = codecs.lookup(config.encoding).name
        return Encoding("utf-8" if name == "utf-8-sig" else name, "set", True)
    with open_bytes(path) as stream:
        return recognise(stream.read(BLOCK))


def recognise(content: bytes) -> Encoding:
    """The encoding of the beginning of a text file.

    Example:
        >>> recognise("Léon,1994".encode("utf-16")).name
        'utf-16'
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return Encoding(name, "byte order mark", name == "utf-8")
    wide = _without_mark(content[:_SAMPLE])
    if wide is not None:
        return Encoding(wide, "every second byte is 0", False)
    if content.isascii():
        return Encoding("utf-8", "ASCII only", True)
    lines = [line for line in content.split(b"\n") if not line.isascii()]
    if len(lines) > 1 and len(content) >= BLOCK:
        lines.pop()
    broken = [line for line in lines if not _is_utf8(line)]
    if 2 * len(broken) <= len(lines):
        # Some lines are in UTF-8, which no other encoding yields by chance: those that are not are rejected.
        return Encoding("utf-8", "valid UTF-8", True)
    return _by_frequency(b"\n".join(broken)[:_SAMPLE])


def _by_frequency(sample: bytes) -> Encoding:
    # Few files need it, and every command would wait for its tables.
    from charset_normalizer import from_bytes

    runs = [len(run) for run in _HIGH.findall(sample)]
    # Accented letters stand alone between ASCII letters; the letters of other scripts stand together.
    latin = 2 * sum(run == 1 for run in runs) > len(runs)
    matches = list(from_bytes(sample, cp_isolation=_LATIN_SCRIPT if latin else _LATIN_SCRIPT + _OTHER_SCRIPTS))
    if not matches:
        return Encoding("iso8859-1", "no other encoding fits", False)
    name = matches[0].encoding
    if latin:
        # These code pages share most letters: without a clear winner, the most common one.
        similar = [match for match in matches if match.chaos <= matches[0].chaos + _SIMILAR]
        name = _WESTERN if any(_WESTERN in match.could_be_from_charset for match in similar) else name
    return Encoding(codecs.lookup(name).name, "frequencies of its characters", False)


def _without_mark(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: mostly ASCII, so that every other byte is 0."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if half >= 2 and max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
