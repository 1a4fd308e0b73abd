"""Several values in one cell of text: set apart by a separator, or written as a list of JSON or Python."""

import ast
import io
import itertools
import json
import re
import tokenize
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["LIST_FORM", "parse_list", "split_cells"]

LIST_FORM = "[]"
"""The separator that stands for a list in brackets."""
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_LONGEST = 100_000
"""Characters of a cell above which it is not given to Python's parser."""


def split_cells(texts: pa.Array, separator: str) -> pa.Array:
    """Lists of text, shape (N,); null where the cell is.

    Args:
        texts: Cells, `large_string`.
        separator: What sets values apart, or `LIST_FORM`.
    """
    if separator != LIST_FORM:
        return pc.split_pattern(texts, separator)
    coded = texts.dictionary_encode()
    lists = pa.array([parse_list(cell) for cell in coded.dictionary.to_pylist()], pa.large_list(pa.large_string()))
    return lists.take(coded.indices)


def parse_list(cell: str) -> list[str]:
    """The members of a list as JSON, Python or numpy write it; a cell without brackets is one value.

    Example:
        >>> parse_list('["a", null, 2]'), parse_list("['a', 'b']"), parse_list("['a' 'b']"), parse_list("[a, b]")
        (['a', '2'], ['a', 'b'], ['a', 'b'], ['a', 'b'])
        >>> parse_list("plain"), parse_list("[]")
        (['plain'], [])
    """
    text = cell.strip()
    if not text or _BRACKETS.get(text[0]) != text[-1]:
        return [text] if text else []
    members = _literal(text)
    return _bare(text[1:-1]) if members is None else [_text(member) for member in members if member is not None]


def _literal(text: str) -> Iterable[object] | None:
    """The list that is written; `None` where it is neither JSON nor a literal of Python."""
    for read in (json.loads, _python_literal) if len(text) <= _LONGEST else (json.loads,):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
            continue
        return value if isinstance(value, list | tuple | set) else None
    return None


def _python_literal(text: str) -> object:
    """A literal of Python, except texts side by side as numpy writes them: Python would join these to one.

    Raises:
        ValueError: It is none.
    """
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline)]
    if any(pair == (tokenize.STRING, tokenize.STRING) for pair in itertools.pairwise(kinds)):
        raise ValueError("texts without a comma between them")
    return ast.literal_eval(text)


def _bare(inner: str) -> list[str]:
    """Members that are not all quoted, or not set apart by commas."""
    quoted = [single or double for single, double in _QUOTED.findall(inner)]
    parts = quoted or inner.split(",")
    return [part.strip() for part in parts if part.strip()]


def _text(member: object) -> str:
    if isinstance(member, bool):
        return str(member).lower()
    return json.dumps(member, default=str) if isinstance(member, list | dict | tuple) else str(member)
