"""Model inputs put together from requests and candidates: the only place, for training and for serving."""

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays, Codes, Field, InputSpec, QueryBatch

__all__ = ["HISTORY_MASK", "Assembler"]

HISTORY_MASK = Field("history.mask", rows=0, width=1, table="")
"""1 at real positions of the history, 0 at padding; the last history field of every spec that has any."""


class Assembler:
    """Puts the inputs of one model together.

    Args:
        item_features: encoded `item.*` arrays `(N, …)` by item code; `None` where the log has no items: a row then
            brings its `item.*` inputs with it.
        spec: the model's inputs.

    Raises:
        ArtifactError: the spec names an item column that is not there.
    """

    def __init__(self, item_features: Arrays | None, spec: InputSpec) -> None:
        self.spec = spec
        self._request = spec.side("user", "context")
        self._history = tuple(f for f in spec.side("history") if f != HISTORY_MASK)
        self._masked = HISTORY_MASK in spec.fields
        self._item = () if item_features is None else spec.side("item")
        self._given = spec.side("item", "route") if item_features is None else spec.side("route")
        self._tables = {f.name: _padded(item_features or {}, f) for f in (*self._history, *self._item)}

    def inputs(self, queries: QueryBatch, codes: Codes, by_candidate: Arrays) -> dict[str, NDArray[np.generic]]:
        """All inputs, in the order of the spec.

        Args:
            queries: B requests.
            codes: `(B, C)` candidates; −1 pads: rows and numbers are 0 there.
            by_candidate: `route.*` arrays `(B, C)`, and `item.*` arrays where there are no items to look them up for.
        """
        brought = {field.name: by_candidate[field.name] for field in self._given}
        given = {**self.query_inputs(queries), **self.item_inputs(codes), **brought}
        return {field.name: given[field.name] for field in self.spec.fields}

    def query_inputs(self, queries: QueryBatch) -> dict[str, NDArray[np.generic]]:
        """The inputs of the request alone: `user.*`, `context.*`, `history.*`, in the order of the spec."""
        given = {field.name: queries.features[field.name] for field in self._request}
        if self._history or self._masked:
            recent = queries.recent(self.spec.history_length)
            given |= self.past_inputs(recent)
            given[HISTORY_MASK.name] = (recent >= 0).astype(np.float32)
        return {f.name: given[f.name] for f in self.spec.side("user", "context", "history")}

    def past_inputs(self, codes: Codes) -> dict[str, NDArray[np.generic]]:
        """The `history.*` inputs of items, without the mask: codes of any shape `(…)` to `(…)` or `(…, W)`."""
        return {field.name: self._tables[field.name][codes] for field in self._history}

    def item_inputs(self, codes: Codes) -> dict[str, NDArray[np.generic]]:
        """The `item.*` inputs of items: codes of any shape `(…)` to `(…)` or `(…, W)`."""
        return {field.name: self._tables[field.name][codes] for field in self._item}


def _padded(item_features: Arrays, field: Field) -> NDArray[np.generic]:
    """The column of a history or item field with a row of zeros at its end, where code −1 finds it."""
    name = f"item.{field.name.partition('.')[2]}"
    if name not in item_features:
        raise ArtifactError(f"{field.name}: no column {name} among {', '.join(item_features)}; run `features` again")
    values = np.asarray(item_features[name])
    return np.concatenate([values, np.zeros((1, *values.shape[1:]), dtype=values.dtype)])
