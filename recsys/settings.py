"""Configuration machinery: strict models, YAML with line numbers, overrides, did-you-mean, content hash."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings", "content_hash", "jsonable"]


class Settings(BaseModel):
    """A frozen configuration node that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


def jsonable(value: object) -> Any:  # noqa: ANN401  JSON is any of six types, nested
    """The value as JSON would give it back: models become mappings, tuples lists, keys text.

    Raises:
        TypeError: something in it has no JSON form.
    """
    return json.loads(_canonical(value))


def content_hash(value: object) -> str:
    """The sha256 of a value's canonical JSON, as hex: independent of the order of keys.

    Example:
        >>> content_hash({"a": 1, "b": (2, 3)}) == content_hash({"b": [2, 3], "a": 1})
        True
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")
