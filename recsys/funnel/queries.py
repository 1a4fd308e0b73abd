"""Requests in outside ids and raw values, made into arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.errors import InputError
from recsys.features.batch import Arrays, Codes, QueryBatch
from recsys.funnel.parts import FunnelParts
from recsys.funnel.requests import Request

__all__ = ["EncodedRequests", "QueryEncoder", "raw_table"]

_Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class EncodedRequests:
    """B requests as arrays.

    Attributes:
        queries: histories and features.
        users: `(B,)` user codes, −1 for an unknown user.
        blocked: `(B, X)` item codes, padded with −1; `None` when no request blocks any.
        unknown_items: of each request, the ids of its history that are not in the catalogue.
    """

    queries: QueryBatch
    users: Codes
    blocked: Codes | None
    unknown_items: tuple[tuple[str, ...], ...]


class QueryEncoder:
    """Looks up stored state and encodes what the request brings."""

    def __init__(self, parts: FunnelParts) -> None:
        self._parts = parts
        self._unknown = {"user": self._encode("user", {}, 1), "context": self._encode("context", {}, 1)}

    def of_users(
        self,
        users: NDArray[np.integer],
        history: Codes | None = None,
        lengths: NDArray[np.int32] | None = None,
        context: Arrays | None = None,
    ) -> QueryBatch:
        """Requests of users by code; see `Funnel.query_batch`."""
        if history is None or lengths is None:
            history, lengths = self._stored(users)
        given = self._nothing("context", len(users)) if context is None else context
        return QueryBatch(history, lengths, {**self._user_features(users), **given})

    def encode(self, requests: Sequence[Request]) -> EncodedRequests:
        """The requests as arrays.

        Raises:
            InputError: a feature or context column is not one the bundle reads.
            DataError: a value has the wrong type.
        """
        users = self._user_codes(requests)
        history, lengths, unknown = self._histories(requests, users)
        features = {
            **self._override("user", self._user_features(users), [r.features for r in requests]),
            **self._override("context", self._nothing("context", len(users)), [r.context for r in requests]),
        }
        return EncodedRequests(QueryBatch(history, lengths, features), users, self._blocked(requests), unknown)

    def item_codes(self, item_ids: Sequence[str]) -> Codes:
        """`(n,)` item codes, −1 for an unknown id."""
        return self._parts.items.encode(list(item_ids))

    def _user_codes(self, requests: Sequence[Request]) -> Codes:
        known = self._parts.users.encode([request.user_id or "" for request in requests])
        given = np.array([request.user_id is not None for request in requests], dtype=bool)
        return np.where(given, known, np.int32(-1))

    def _histories(
        self, requests: Sequence[Request], users: Codes
    ) -> tuple[Codes, NDArray[np.int32], tuple[tuple[str, ...], ...]]:
        rows: list[Codes] = []
        unknown: list[tuple[str, ...]] = []
        for request, user in zip(requests, users.tolist(), strict=True):
            codes, strangers = self._history(request, user)
            rows.append(codes)
            unknown.append(strangers)
        history, lengths = _pad(rows)
        return history, lengths, tuple(unknown)

    def _history(self, request: Request, user: int) -> tuple[Codes, tuple[str, ...]]:
        if request.history is not None:
            codes = self.item_codes(request.history)
            strangers = tuple(i for i, code in zip(request.history, codes.tolist(), strict=True) if code < 0)
            return codes[codes >= 0], strangers
        histories = self._parts.histories
        begin, end = (histories.offsets[user], histories.offsets[user + 1]) if user >= 0 else (0, 0)
        return histories.items[begin:end], ()

    def _stored(self, users: NDArray[np.integer]) -> tuple[Codes, NDArray[np.int32]]:
        offsets, items = self._parts.histories.offsets, self._parts.histories.items
        return _pad([items[offsets[u] : offsets[u + 1]] if u >= 0 else items[:0] for u in users.tolist()])

    def _blocked(self, requests: Sequence[Request]) -> Codes | None:
        if not any(request.blocked for request in requests):
            return None
        return _pad([self.item_codes(request.blocked) for request in requests])[0]

    def _user_features(self, users: NDArray[np.integer]) -> dict[str, _Array]:
        known = users >= 0
        if known.all():
            return {name: values[users] for name, values in self._parts.user_features.items()}
        features = self._nothing("user", len(users))
        for name, values in self._parts.user_features.items():
            features[name][known] = values[users[known]]
        return features

    def _nothing(self, side: Literal["user", "context"], count: int) -> dict[str, _Array]:
        return {name: np.repeat(row, count, axis=0) for name, row in self._unknown[side].items()}

    def _override(
        self, side: Literal["user", "context"], stored: dict[str, _Array], given: Sequence[Mapping[str, object]]
    ) -> dict[str, _Array]:
        """The stored arrays with the given raw values in their place, column by column."""
        for column in sorted(set().union(*given)):
            names = self._parts.encoder.reading(side, column)
            if not names:
                known = ", ".join(self._parts.encoder.columns(side)) or "no columns"
                raise InputError(f"{side}.{column}: the bundle does not read this column; it reads {known}")
            rows = [row for row, values in enumerate(given) if column in values]
            encoded = self._encode(side, {column: [given[row][column] for row in rows]}, len(rows))
            for name in names:
                stored[name][rows] = encoded[name]
        return stored

    def _encode(
        self, side: Literal["user", "context"], columns: Mapping[str, Sequence[object]], count: int
    ) -> dict[str, _Array]:
        return dict(self._parts.encoder.encode(side, raw_table(side, columns, count)))


def raw_table(side: Literal["user", "context"], columns: Mapping[str, Sequence[object]], count: int) -> pa.Table:
    """Raw JSON values by column, `count` of each, in canonical types.

    Raises:
        InputError: the values of a column are not of one kind.
    """
    # A column without a name gives the table its length when no other does.
    table = {"": pa.nulls(count, pa.large_string()), **{n: _column(f"{side}.{n}", v) for n, v in columns.items()}}
    return pa.table(table)


def _column(name: str, values: Sequence[object]) -> pa.Array:
    """Raw JSON values in the canonical type of their kind: text, list of text, number, or timestamp."""
    present = [value for value in values if value is not None]
    try:
        return pa.array(values, type=_type(present[0]) if present else pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        raise InputError(
            f"{name}: {present!r} are not values of one kind; send text, numbers or lists of text"
        ) from None


def _type(value: object) -> pa.DataType:
    if isinstance(value, list | tuple):
        return pa.large_list(pa.large_string())
    if isinstance(value, datetime):
        return pa.timestamp("us", tz="UTC")
    return pa.large_string() if isinstance(value, str) else pa.float64()


def _pad(rows: Sequence[Codes]) -> tuple[Codes, NDArray[np.int32]]:
    """`(B, H)` rows padded with −1 on the right, H at least 1, and their lengths."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    padded = np.full((len(rows), max(int(lengths.max(initial=1)), 1)), -1, dtype=np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded, lengths
