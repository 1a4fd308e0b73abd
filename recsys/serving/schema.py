"""The bodies of `POST /v1/recommend` and `POST /v1/predict`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from recsys.funnel.requests import Request, Response
from recsys.funnel.rows import Predictions, row_columns
from recsys.scoring.tasks import Tasks

__all__ = [
    "MAX_HISTORY",
    "MAX_ID_LENGTH",
    "MAX_K",
    "MAX_ROWS",
    "Item",
    "PredictRequest",
    "PredictResponse",
    "Prediction",
    "RecommendRequest",
    "RecommendResponse",
]

MAX_K = 1000
MAX_HISTORY = 10_000
MAX_ID_LENGTH = 512

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
Ids = Annotated[list[Id], Field(max_length=MAX_HISTORY)]
Value = str | bool | int | float | Annotated[list[str], Field(max_length=1000)] | None
Values = Annotated[dict[Id, Value], Field(max_length=256)]


class RecommendRequest(BaseModel):
    """A request; everything is optional, and a request that says nothing gets what is popular."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    user_id: Id | None = None
    history: Ids | None = None
    """The user's items, oldest first; replaces the stored history."""
    features: Values = Field(default_factory=dict)
    """Columns of the users table; they replace the stored ones."""
    context: Values = Field(default_factory=dict)
    """Context columns of the interactions table."""
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    allowed: Ids | None = None
    """Items to choose from; all of them when left out."""
    blocked: Ids = Field(default_factory=list)
    """Items that may not come back."""
    explain: bool = False
    """Also say which routes found each item, at which rank."""

    def to_request(self) -> Request:
        """What the runtime is asked."""
        return Request(self.user_id, self.history, self.features, self.context, self.allowed, self.blocked)


class Item(BaseModel):
    """One recommended item."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: str
    title: str | None
    rank: int
    score: float
    probability: float | dict[str, float] | None = None
    """That the item is a positive, by name for each of several tasks; null from a bundle without calibration."""
    routes: dict[str, int] | None = None


class RecommendResponse(BaseModel):
    """The answer, best item first."""

    bundle: str
    bundle_version: int
    known_user: bool
    unknown_items: list[str]
    items: list[Item]

    @classmethod
    def of(cls, response: Response, bundle: str, version: int, *, explain: bool) -> "RecommendResponse":
        """The runtime's answer as a body."""
        items = [
            Item(
                item_id=item.item_id,
                title=item.title,
                rank=item.rank,
                score=item.score,
                probability=dict(item.probability) if isinstance(item.probability, Mapping) else item.probability,
                routes=dict(item.routes) if explain else None,
            )
            for item in response.items
        ]
        return cls(
            bundle=bundle,
            bundle_version=version,
            known_user=response.known_user,
            unknown_items=list(response.unknown_items),
            items=items,
        )


MAX_ROWS = 1000
Row = Annotated[dict[Id, Value], Field(max_length=4096)]


class PredictRequest(BaseModel):
    """Rows to score."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]
    """Columns of the log by their names there; one that is left out counts as missing."""


class Prediction(BaseModel):
    """What the ranker says of a row."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    score: float | None
    """The ranker's logit; null for an item that the bundle does not know."""
    probability: float | dict[str, float] | None
    """That the row is a positive, by name for each of several tasks; null where the bundle has no probabilities."""


class PredictResponse(BaseModel):
    """The answer, in the order of the rows."""

    bundle: str
    bundle_version: int
    predictions: list[Prediction]

    @classmethod
    def of(cls, predictions: Predictions, tasks: Tasks | None, bundle: str, version: int) -> "PredictResponse":
        """The runtime's answer as a body."""
        columns = {name: values.to_pylist() for name, values in row_columns(predictions, tasks).items()}
        scores = columns.pop("score")
        rows = list(zip(*columns.values(), strict=True)) or [()] * len(scores)
        names = () if tasks is None else tasks.names
        answers = [
            Prediction(score=score, probability=_probability(None if score is None else row, names))
            for score, row in zip(scores, rows, strict=True)
        ]
        return cls(bundle=bundle, bundle_version=version, predictions=answers)


def _probability(values: tuple[float, ...] | None, tasks: tuple[str, ...]) -> float | dict[str, float] | None:
    if not values:
        return None
    return dict(zip(tasks, values, strict=True)) if tasks else values[0]
