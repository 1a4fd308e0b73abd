"""What a caller asks and what it gets, in outside ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Recommendation", "Request", "Response"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Everything is optional: a request that says nothing gets what is popular.

    Attributes:
        user_id: a known user brings the stored history and features.
        history: the user's item ids, oldest first; replaces the stored history. Unknown ids are ignored and reported.
        features: columns of the users table; they replace the stored ones, column by column. A value may come in every
            form that ingest reads: text, a number, a truth value, a time, a list of these, `None` for a missing one.
        context: context columns of the interactions table, alike.
        allowed: item ids to choose from; `None` means the whole catalogue.
        blocked: item ids that may not come back.
    """

    user_id: str | None = None
    history: Sequence[str] | None = None
    features: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    allowed: Sequence[str] | None = None
    blocked: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One item of an answer.

    Attributes:
        item_id: the outside id.
        title: for people to read; `None` when the items table has none.
        rank: from 1.
        score: the ranker's logit, or the fused score of a bundle without ranker; descending within an answer.
        routes: the rank, from 1, in the list of each route that found the item; filled on request only.
        probability: that the item is a positive, or by name for each of several tasks; `None` from a bundle without
            calibration.
    """

    item_id: str
    title: str | None
    rank: int
    score: float
    routes: Mapping[str, int] = field(default_factory=dict)
    probability: float | Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to one request.

    Attributes:
        items: best first; fewer than asked when the candidates run out.
        known_user: whether the user id was in the bundle.
        unknown_items: ids of the request's history that no catalogue row has, in their order.
    """

    items: tuple[Recommendation, ...]
    known_user: bool
    unknown_items: tuple[str, ...] = ()
