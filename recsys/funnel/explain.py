"""Why an item is recommended to somebody, or why not: what every stage of the funnel did with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.funnel.candidates import CandidateGenerator, withheld
from recsys.retrieval.fusion import Candidates

__all__ = ["Case", "Explanation", "Place", "RouteView", "Stage", "explain_case"]

Stage = Literal["catalogue", "filter", "recall", "fusion", "ranking"]
"""Where an item is lost: unknown; not allowed or withheld; found by no route; cut by fusion; too low in the ranking."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands in a list.

    Attributes:
        rank: from 1; `None` when the list has it not.
        of: length of the list.
        score: the item's own; `None` when it has none.
        last: the lowest score that is still in; `None` for an empty list.
    """

    rank: int | None
    of: int
    score: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class RouteView:
    """What one route says of the item.

    Attributes:
        weight: of the route in fusion; at 0 it adds no candidates.
        place: in the list the route hands to fusion, from which withheld items are gone.
        in_catalogue: rank among all items, withheld ones included; `None` when the route would never return it.
    """

    weight: float
    place: Place
    in_catalogue: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one item in one request.

    Attributes:
        lost_at: the stage that lost it; `None` when it is in the top k.
        reason: why, in a sentence.
        title: of the item, for people to read.
        known_user: whether the user id was in the bundle.
        history_length: items of the request's history.
        routes: by name; empty for an item that is not in the catalogue.
        fusion: among the fused candidates.
        ranking: by final score among the candidates; an item that is none of them gets the rank it would have. `None`
            for an unknown item, and without ranker for one that is no candidate.
    """

    lost_at: Stage | None
    reason: str
    title: str | None
    known_user: bool
    history_length: int
    routes: Mapping[str, RouteView]
    fusion: Place | None
    ranking: Place | None


@dataclass(frozen=True, slots=True)
class Case:
    """One request and one item of the catalogue.

    Attributes:
        generator: routes, fusion, policy.
        queries: the request, B = 1.
        known_user: whether its user id was in the bundle.
        code: of the item.
        title: of the item.
        n_items: N, size of the catalogue.
        allowed: sorted item codes to choose from; `None` means all.
        blocked: `(1, X)` codes that may not come back.
    """

    generator: CandidateGenerator
    queries: QueryBatch
    known_user: bool
    code: int
    title: str | None
    n_items: int
    allowed: Codes | None
    blocked: Codes | None


def explain_case(
    case: Case, lists: Mapping[str, tuple[Codes, Floats]], candidates: Candidates, scores: Floats, own: float, k: int
) -> Explanation:
    """What every stage did with the item.

    Args:
        case: request and item.
        lists: what each route hands to fusion, `(1, per_route)`.
        candidates: what fusion made of them.
        scores: `(C,)` final scores of the candidates; −inf at padding.
        own: the item's final score; −inf where it has none.
        k: length of the list asked for.
    """
    codes = candidates.codes[0]
    routes = {name: _route_view(case, name, lists[name]) for name in lists}
    fusion = _place(case.code, codes, candidates.scores[0], None)
    ranking = _place(case.code, codes[_order(codes, scores)], scores[_order(codes, scores)], own)
    if np.isfinite(own) and ranking.rank is None:
        above = (scores > own) | ((scores == own) & (codes < case.code))
        ranking = Place(int(above.sum()) + 1, ranking.of, own, ranking.last)
    lost, reason = _verdict(case, routes, is_candidate=fusion.rank is not None, rank=ranking.rank or 0, k=k)
    return Explanation(
        lost_at=lost,
        reason=reason,
        title=case.title,
        known_user=case.known_user,
        history_length=int(case.queries.lengths[0]),
        routes=routes,
        fusion=fusion,
        ranking=ranking if ranking.rank else None,
    )


def _route_view(case: Case, name: str, found: tuple[Codes, Floats]) -> RouteView:
    everything = case.generator.retrievers[name].score(case.queries, np.arange(case.n_items, dtype=np.int32)[None])[0]
    own = float(everything[case.code])
    above = (everything > own) | ((everything == own) & (np.arange(case.n_items) < case.code))
    return RouteView(
        weight=case.generator.fusion.weights[name],
        place=_place(case.code, found[0][0], found[1][0], own),
        in_catalogue=int(above.sum()) + 1 if np.isfinite(own) else None,
    )


def _place(code: int, codes: Codes, scores: Floats, own: float | None) -> Place:
    """In a list, best first and padded with −1; `own` is for an item that the list has not."""
    real = codes >= 0
    at = np.flatnonzero(codes == code)
    score = float(scores[at[0]]) if len(at) else own
    return Place(
        rank=int(at[0]) + 1 if len(at) else None,
        of=int(real.sum()),
        score=score if score is not None and np.isfinite(score) else None,
        last=float(scores[real][-1]) if real.any() else None,
    )


def _order(codes: Codes, scores: Floats) -> NDArray[np.intp]:
    return np.lexsort((codes, -scores))


def _verdict(
    case: Case, routes: Mapping[str, RouteView], *, is_candidate: bool, rank: int, k: int
) -> tuple[Stage | None, str]:
    refused = _refused(case)
    if refused:
        return "filter", refused
    found = {name: view.place.rank for name, view in routes.items() if view.place.rank is not None}
    by = ", ".join(f"{name} #{place}" for name, place in sorted(found.items(), key=lambda pair: pair[1]))
    if is_candidate and rank <= k:
        return None, f"found by {by}" if found else "no route answers this request, so popular items fill the list"
    if is_candidate:
        return "ranking", f"{rank - 1} candidates rank higher, and the list ends at {k}"
    if all(view.in_catalogue is None for view in routes.values()):
        return "recall", "no route would ever return it for this request, however long its list"
    if not found:
        return "recall", f"no route has it among its best {case.generator.fusion.per_route}"
    if not any(routes[name].weight for name in found):
        return "fusion", f"found by {by} alone, whose weight is 0"
    return "fusion", f"found by {by}, but the {case.generator.fusion.candidates} candidates have higher fused scores"


def _refused(case: Case) -> str | None:
    if case.allowed is not None and case.code not in case.allowed:
        return "the request allows other items only"
    if case.blocked is not None and case.code in case.blocked[0]:
        return "the request blocks it"
    policy = case.generator.policy
    if case.code not in withheld(case.queries, policy)[0]:
        return None
    history = case.queries.history[0][case.queries.history[0] >= 0]
    ago = len(history) - int(np.flatnonzero(history == case.code)[-1])
    rule = f"{policy.exclude_seen} {policy.recent}" if policy.exclude_seen == "recent" else policy.exclude_seen
    return f"already in the history, {ago} item{'' if ago == 1 else 's'} ago (policy.exclude_seen: {rule})"
