"""Settings of the routes served by item-to-item weights."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.recall.settings.base import RouteSettings

__all__ = ["EASEConfig", "ItemCFConfig"]


class ItemCFConfig(RouteSettings):
    """Sequence-aware item-to-item co-occurrence."""

    distance_settings = ("distance_decay", "query_decay")

    kind: Literal["itemcf"]
    window: PositiveInt = 40
    """Two events of a user this many steps apart or fewer count as a pair. Ignored when `data.order` is `none`."""
    distance_decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Weight of a pair a step further apart."""
    backward: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of a pair read against the order: what came before counts less than what comes next."""
    popularity_penalty: NonNegativeFloat = 0.4
    """Exponent on both items' counts in the denominator."""
    neighbours: PositiveInt = 400
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Weight of a history item one step further back."""


class EASEConfig(RouteSettings):
    """Every item a linear regression on all the others (Steck 2019)."""

    distance_settings = ("query_decay",)

    kind: Literal["ease"]
    l2: PositiveFloat = 200.0
    """Ridge penalty: the larger, the less a rare pair counts."""
    neighbours: PositiveInt = 512
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back; 1 as in the paper, which knows no order."""
    history: PositiveInt = 1000
    """The most recent items that count."""
