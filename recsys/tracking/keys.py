"""Names as keys that MLflow takes: letters, digits and `_-. :/`, and no path that another name resolves to.

Different names have different keys: what is not allowed becomes `_at_` (`@` before a digit), `_eq_` (`=`) or `_x20ac_`
(the code point in hexadecimal), and a `_` that would read as the beginning of one of these becomes `_x5f_`. So a key
can be read back, from left to right.
"""

import hashlib
import re

__all__ = ["MAX_KEY", "key_of"]

MAX_KEY = 250
"""Characters of a key."""
_ILLEGAL = r"[^\w\-. :/]"
_END_OF_SEGMENT = r"/(?=/|\Z)"
"""A slash with nothing behind it: `a//b` and `a/` are other names for `a/b` and `a`."""
_ESCAPED = re.compile(
    rf"{_ILLEGAL}|{_END_OF_SEGMENT}|\A/"
    r"|(?:\A|(?<=/))\.(?=\.?(?:/|\Z))|\A\.(?=\.)"
    rf"|_(?=(?:x[0-9a-f]+|eq)(?:_|{_ILLEGAL}|{_END_OF_SEGMENT}))|_(?=at_[0-9])"
)
_DIGEST = 16


def key_of(name: str) -> str:
    """The key a name is recorded under; where it would be too long, its beginning and a digest of the name.

    Example:
        >>> key_of("features.item.price"), key_of("funnel/ndcg@10"), key_of("price €")
        ('features.item.price', 'funnel/ndcg_at_10', 'price _x20ac_')
    """
    key = _ESCAPED.sub(_escape, name)
    if len(key) <= MAX_KEY:
        return key
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:_DIGEST]
    return f"{key[: MAX_KEY - _DIGEST - 2]}..{digest}"


def _escape(match: re.Match[str]) -> str:
    character, following = match[0], match.string[match.end() : match.end() + 1]
    if character == "@" and following in "0123456789" and following:
        return "_at_"
    return "_eq_" if character == "=" else f"_x{ord(character):x}_"
