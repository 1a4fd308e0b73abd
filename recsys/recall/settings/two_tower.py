"""Settings of the trained two-tower routes."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from recsys.problems import Problem, unknown
from recsys.recall.settings.base import LogFacts, RouteSettings
from recsys.training.config import OptimiserConfig, TrainingConfig

__all__ = ["DSSMConfig"]


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


class DSSMConfig(RouteSettings):
    """Two towers (Huang 2013; Yi 2019): user features and history against item id and features."""

    needs_order = "it learns the next item from those before"

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

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also fields that no side has."""
        yield from super().problems(log)
        for side, fields in (("user", self.user_fields), ("item", self.item_fields)):
            known = log.inputs[side]
            for position, field in enumerate(fields or ()):
                if field not in known:
                    yield Problem(
                        unknown(field, known, noun=f"field of features.{side}"), at=(f"{side}_fields", position)
                    )
