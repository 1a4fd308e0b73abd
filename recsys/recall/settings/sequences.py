"""Settings of the routes whose item vectors are trained like those of words."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys.problems import Problem
from recsys.recall.settings.base import HistoryFacts, LogFacts, VectorRouteSettings
from recsys.recall.word2vec.config import Word2VecSettings

__all__ = ["DeepWalkConfig", "Item2VecConfig", "Node2VecConfig", "VectorsConfig"]


class HistoryTraining(Word2VecSettings):
    """Of histories, which are few and short: more passes."""

    epochs: PositiveInt = 20
    """Passes over the histories."""


class WalkTraining(Word2VecSettings):
    """Of walks, of which there are as many as are asked for."""

    epochs: PositiveInt = 2
    """Passes over the walks."""


class VectorsConfig(VectorRouteSettings):
    """What these routes share: a request is the decayed mean of its history's vectors."""

    distance_settings = ("query_decay",)
    pairs_items = True

    training: Word2VecSettings = Word2VecSettings()
    """How the vectors are trained."""
    candidates: Literal["input", "output"] = "input"
    """Which vectors items are found by: `input`, by cosine, gives items in the same contexts; `output` those that
    follow one another, and needs `negative_sampling`."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Weight of a history item one step further back. Default where `data.order` is `none`: 1."""
    history: PositiveInt = 50
    """The most recent items that count."""

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also vectors that the loss does not train."""
        yield from super().problems(log)
        if self.candidates == "output" and self.training.loss != "negative_sampling":
            found = "found output, expected input: training.loss is hierarchical_softmax, which has none for items"
            yield Problem(found, at=("candidates",))


class Item2VecConfig(VectorsConfig):
    """Histories as sentences, items as words (Barkan 2016). Without order they are shuffled anew in every epoch."""

    kind: Literal["item2vec"]
    training: HistoryTraining = HistoryTraining()
    """How the vectors are trained."""

    def stopping(self, facts: HistoryFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also items that are all too rare."""
        yield from super().stopping(facts)
        least = self.training.min_count
        if facts.most_frequent < least:
            found = f"found {least}, but no item has more than {facts.most_frequent:,} events in the recall window"
            yield Problem(f"{found}; lower it", at=("training", "min_count"))


class _WalkConfig(VectorsConfig):
    """Random walks over the graph of items that follow one another."""

    stops_without_pairs = True

    walks: PositiveInt = 10
    """Walks from every item."""
    walk_length: Annotated[int, Field(ge=2)] = 20
    """Items of a walk."""
    training: WalkTraining = WalkTraining()
    """How the vectors are trained."""
    popularity_penalty: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Exponent on the count of the item walked to: 0 goes where most went."""


class DeepWalkConfig(_WalkConfig):
    """Walks by the weight of edges (Perozzi 2014)."""

    kind: Literal["deepwalk"]


class Node2VecConfig(_WalkConfig):
    """Walks that know where they came from (Grover 2016)."""

    kind: Literal["node2vec"]
    p: PositiveFloat = 1.0
    """Going back is this much less likely."""
    q: PositiveFloat = 0.5
    """Going further away is this much less likely than staying near."""
