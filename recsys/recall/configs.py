"""Settings of every recall route; torch-free, so that a config can be read anywhere."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from recsys.settings import Settings
from recsys.training.config import OptimiserConfig, TrainingConfig

__all__ = ["DSSMConfig", "EASEConfig", "ItemCFConfig", "PopularConfig", "RouteConfig"]


class PopularConfig(Settings):
    """Most popular items, recent events weighing more."""

    kind: Literal["popular"]
    half_life_days: PositiveFloat | None = 30.0
    """An event this old counts half; `null`: plain counts, and the only choice for a log without order or time."""


class ItemCFConfig(Settings):
    """Sequence-aware item-to-item co-occurrence."""

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


class EASEConfig(Settings):
    """Every item a linear regression on all the others (Steck 2019)."""

    kind: Literal["ease"]
    l2: PositiveFloat = 200.0
    """Ridge penalty: the larger, the less a rare pair counts."""
    neighbours: PositiveInt = 512
    """Weights kept for each item."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back; 1 as in the paper, which knows no order."""
    history: PositiveInt = 1000
    """The most recent items that count."""


class TwoTowerOptimiser(OptimiserConfig):
    """Defaults of a two-tower."""

    learning_rate: PositiveFloat = 5e-3
    """Of the first step; see `schedule`."""


class TwoTowerTraining(TrainingConfig):
    """Defaults of a two-tower: large batches, as the other requests' items are the negatives."""

    epochs: PositiveInt = 6
    """Passes over the events."""
    batch_size: PositiveInt = 1024
    """Requests a step: each has the items of all others as negatives."""
    patience: NonNegativeInt = 0
    """Epochs without a better validation figure before training stops; routes have none."""
    optimiser: TwoTowerOptimiser = TwoTowerOptimiser()
    """How weights are updated."""


class DSSMConfig(Settings):
    """Two towers (Huang 2013; Yi 2019): user features and history against item id and features."""

    kind: Literal["dssm"]
    embedding_dim: PositiveInt = 64
    """Length of the vectors of queries and items."""
    hidden: tuple[PositiveInt, ...] = (128,)
    """Layers that correct the decayed mean of the history."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """On item vectors; half of it on hidden layers."""
    temperature: PositiveFloat = 0.07
    """Divides cosines: the smaller, the more the hardest negatives count."""
    logq_correction: bool = True
    """Takes back that popular items are drawn as negatives more often."""
    history_length: PositiveInt = 20
    """The most recent items the query tower reads."""
    min_history: NonNegativeInt = 3
    """Events with fewer before them are no training positives."""
    user_fields: tuple[str, ...] | None = None
    """`null`: every user field except `user_id`."""
    item_fields: tuple[str, ...] | None = None
    """`null`: every item field."""
    training: TwoTowerTraining = TwoTowerTraining()
    """How the towers learn."""


RouteConfig = Annotated[PopularConfig | ItemCFConfig | EASEConfig | DSSMConfig, Field(discriminator="kind")]
