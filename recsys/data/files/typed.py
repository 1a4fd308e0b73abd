"""Headers that declare a type after the name, as RecBole and others write them: `user_id:token`, `rating:float`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["DeclaredType", "TypedName", "plain_names", "typed_name"]

DeclaredType = Literal["token", "token_seq", "float", "float_seq"]


@dataclass(frozen=True, slots=True)
class TypedName:
    """A column name without its type, and the type that the header declares."""

    name: str
    type: DeclaredType | None


def typed_name(cell: str) -> TypedName:
    """Takes a cell of a header apart.

    Example:
        >>> typed_name("genres:token_seq")
        TypedName(name='genres', type='token_seq')
        >>> typed_name("a:b")
        TypedName(name='a:b', type=None)
    """
    name, _, kind = cell.rpartition(":")
    for known in get_args(DeclaredType):
        if name and kind.strip().lower() == known:
            return TypedName(name.strip(), known)
    return TypedName(cell, None)


def plain_names(header: Sequence[str]) -> list[str]:
    """The names without types, if every cell of the header declares one; else the header as it is."""
    typed = [typed_name(cell) for cell in header]
    return [cell.name for cell in typed] if all(cell.type for cell in typed) else list(header)
