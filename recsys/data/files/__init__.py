"""Finds the files of a table and reads their columns as they are, telling for every row where it came from.

`reader` is the entrance; one module a format (`delimited`, `records`, `parquet`, `spreadsheet`), over `stream` (bytes),
`encoding` (text) and `lines` (which line a row stands on).
"""

from recsys.data.files.find import Format, find_files, format_of
from recsys.data.files.reader import Head, column_names, declared_types, read_head, read_source
from recsys.data.files.sniff import Sniffed, sniff, sniff_delimiter
from recsys.data.files.source import BadRow, Source
from recsys.data.files.typed import DeclaredType, TypedName, typed_name

__all__ = [
    "BadRow",
    "DeclaredType",
    "Format",
    "Head",
    "Sniffed",
    "Source",
    "TypedName",
    "column_names",
    "declared_types",
    "find_files",
    "format_of",
    "read_head",
    "read_source",
    "sniff",
    "sniff_delimiter",
    "typed_name",
]
