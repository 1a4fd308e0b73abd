"""Settings of the routes served by item-to-item weights."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.recall.settings.base import RouteSettings

__all__ = ["EASEConfig", "GraphFilterConfig", "ItemCFConfig", "SwingConfig", "UserCFConfig"]


class ItemCFConfig(RouteSettings):
    """Sequence-aware item-to-item co-occurrence."""

    distance_settings = ("distance_decay", "query_decay")
    pairs_items = True

    kind: Literal["itemcf"]
    window: PositiveInt = 40
    """Two events of a user this many steps apart or fewer count as a pair. Ignored when `data.order` is `none`."""
    distance_decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Weight of a pair a step further apart. Default where `data.order` is `none`: 1."""
    backward: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of a pair read against the order: what came before counts less than what comes next."""
    popularity_penalty: NonNegativeFloat = 0.4
    """Exponent on both items' counts in the denominator; 0.5 without order is the cosine."""
    user_penalty: NonNegativeFloat = 0.0
    """Exponent on the user's number of events in the denominator: a pair of a user with few says more (inverse user
    frequency, Breese 1998)."""
    neighbours: PositiveInt = 400
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Weight of a history item one step further back. Default where `data.order` is `none`: 1."""
    history: PositiveInt = 60
    """The most recent items that count."""


class UserCFConfig(RouteSettings):
    """What similar users have (Resnick 1994), in item-to-item form, so that it answers from the history alone."""

    distance_settings = ("query_decay",)
    pairs_items = True

    kind: Literal["usercf"]
    user_penalty: NonNegativeFloat = 1.0
    """Exponent on a similar user's number of items in the denominator."""
    popularity_penalty: NonNegativeFloat = 0.3
    """Exponent on a shared item's count in the denominator: rare tastes in common say more."""
    neighbours: PositiveInt = 400
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back."""
    history: PositiveInt = 200
    """The most recent items that count."""


class SwingConfig(RouteSettings):
    """Pairs of users who share two items and little else (Yang 2020)."""

    distance_settings = ("query_decay",)
    pairs_items = True

    kind: Literal["swing"]
    alpha: NonNegativeFloat = 1.0
    """Added to the number of items two users share: the larger, the less a narrow overlap counts."""
    user_penalty: NonNegativeFloat = 0.5
    """Exponent on each user's number of items in the denominator."""
    popularity_penalty: NonNegativeFloat = 0.0
    """Exponent on both items' counts in the denominator; 0 as in the paper."""
    max_users: Annotated[int, Field(ge=2)] = 200
    """Users looked at for each item, drawn at random: all their pairs are."""
    max_items: PositiveInt = 1000
    """Users with more items are left out: robots, shared accounts."""
    neighbours: PositiveInt = 200
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back."""
    history: PositiveInt = 200
    """The most recent items that count."""


class GraphFilterConfig(RouteSettings):
    """A low-pass filter on the graph of users and items, in closed form (GF-CF, Shen 2021). Needs no order."""

    distance_settings = ("query_decay",)
    pairs_items = True

    kind: Literal["graph_filter"]
    rank: PositiveInt = 256
    """Singular vectors of the ideal low-pass part."""
    ideal_weight: NonNegativeFloat = 0.3
    """Of the ideal low-pass part beside the linear one."""
    user_penalty: NonNegativeFloat = 0.5
    """Exponent on a user's number of items in the denominator."""
    popularity_penalty: NonNegativeFloat = 0.5
    """Exponent on an item's count in the denominator."""
    neighbours: PositiveInt = 512
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back."""
    history: PositiveInt = 1000
    """The most recent items that count."""


class EASEConfig(RouteSettings):
    """Every item a linear regression on all the others (Steck 2019)."""

    distance_settings = ("query_decay",)
    pairs_items = True

    kind: Literal["ease"]
    l2: PositiveFloat = 200.0
    """Ridge penalty: the larger, the less a rare pair counts."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a user's items that is thought away while the others are regressed on the rest (Steck 2020): popular
    items are then held back most; 0 as in the paper of 2019."""
    user_penalty: NonNegativeFloat = 0.0
    """Users weigh 1 / (their items)^(2 · this) in the regression; 0 as in the paper."""
    popularity_penalty: NonNegativeFloat = 0.0
    """Weights towards an item are divided by its count to the power of this; 0 as in the paper."""
    neighbours: PositiveInt = 512
    """Weights kept for each item."""
    negative_weights: bool = True
    """Whether items may speak against others, as in the paper. Of a large catalogue most large weights are then
    negative and crowd out those that find anything: with `false` only positive ones are kept."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back; 1 as in the paper, which knows no order."""
    history: PositiveInt = 1000
    """The most recent items that count."""
