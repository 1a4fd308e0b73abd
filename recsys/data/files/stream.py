"""The bytes of a file, unpacked; and its text as UTF-8 blocks of whole lines."""

import codecs
import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recsys.data.files.find import LABELS, Format, zip_member
from recsys.errors import DataError

__all__ = [
    "BLOCK",
    "BlockReader",
    "beginning",
    "decode_blocks",
    "open_bytes",
    "readable",
    "text_blocks",
    "whole_lines",
]

BLOCK = 1 << 24
"""Bytes read at a time. One row must fit into a block; a larger block costs nothing for small files."""

# What a damaged, truncated or encrypted file raises while it is unpacked and parsed.
_UNREADABLE = (
    *(OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError),
    *(pa.ArrowException, csv.Error),
)

# A byte that occurs in no UTF-8 text stands for what could not be decoded, so that its row alone is rejected.
_NOT_UTF8 = "\udcff"
codecs.register_error("recsys_not_utf8", lambda error: (_NOT_UTF8, cast(UnicodeDecodeError, error).end))


@contextmanager
def readable(path: Path, kind: Format) -> Iterator[None]:
    """Turns what readers raise over a damaged file into a message that names it."""
    try:
        yield
    except _UNREADABLE as error:
        raise DataError(f"{path}: found a file that cannot be read ({error}), expected {LABELS[kind]}") from error


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The content of a file; of `.gz` and `.zip` files what is packed."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.open(path) as packed:
            yield cast(BinaryIO, packed)
    elif suffix == ".zip":
        member = zip_member(path)
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield cast(BinaryIO, stream)
    else:
        with path.open("rb") as stream:
            yield stream


def beginning(path: Path, size: int) -> tuple[bytes, float]:
    """At most so many bytes of the content of a file, and about which share of it they are."""
    with open_bytes(path) as stream:
        content = stream.read(size)
        if not stream.read(1):
            return content, 1.0
        # Of packed files about as much is left as was packed in the rest.
        packed = stream.fileobj if isinstance(stream, gzip.GzipFile) else None
        at, whole = (packed.tell(), path.stat().st_size) if packed else (size, _size(path))
    return content, min(at / max(whole, 1), 0.999)


def _size(path: Path) -> int:
    if path.suffix.lower() != ".zip":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(zip_member(path)).file_size


def text_blocks(path: Path, encoding: str, size: int = BLOCK) -> Iterator[bytes]:
    """The text of a file in UTF-8 without byte order mark, block by block; what cannot be decoded is the byte 0xff."""
    with open_bytes(path) as stream:
        yield from decode_blocks(iter(lambda: stream.read(size), b""), encoding)


def decode_blocks(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The same as `text_blocks`, of bytes that were read already."""
    if encoding == "utf-8":
        for number, block in enumerate(blocks):
            yield block if number else block.removeprefix(codecs.BOM_UTF8)
        return
    decoder = codecs.getincrementaldecoder(encoding)("recsys_not_utf8")
    for block in blocks:
        yield _encoded(decoder.decode(block))
    yield _encoded(decoder.decode(b"", True))


def _encoded(text: str) -> bytes:
    return text.removeprefix("\ufeff").encode("utf-8", "surrogateescape")


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes cut at line ends; a line longer than a block is handed on in pieces."""
    rest = b""
    for block in blocks:
        text = rest + block
        cut = max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1)) + 1
        if not cut and len(text) > BLOCK:
            cut = len(text)
        rest = text[cut:]
        if cut:
            yield text[:cut]
    if rest:
        yield rest


class BlockReader:
    """Blocks as a file for readers that ask for bytes; a block of the size asked for is handed on without a copy."""

    closed = False

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """So many bytes, as long as there are blocks: a reader takes less for a block of its own."""
        parts, missing = [self._rest], size - len(self._rest)
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            missing -= len(block)
        found = parts[-1] if not any(parts[:-1]) else b"".join(parts)
        self._rest = found[size:]
        return found[:size] if self._rest else found
