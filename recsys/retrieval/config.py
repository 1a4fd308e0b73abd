"""How the lists of several routes become one list of candidates."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys.bundle.format import FusionSpec
from recsys.settings import Settings

__all__ = ["FusionConfig"]

Weight = Annotated[float, Field(ge=0)]


class FusionConfig(Settings):
    """The lists of several routes made into one.

    `rrf`: weighted reciprocal ranks, Σ w_route / (k + rank) (Cormack 2009). `weighted_sum`: Σ w_route · score, each
    list's scores brought to one scale. `quota`: the routes take turns, as often as their weights say, each with its
    best item that is not taken.
    """

    kind: Literal["rrf", "weighted_sum", "quota"] = "rrf"
    """Ranks need no scale and are the safe choice; scores say more where routes are sure of few items."""
    k: PositiveFloat = 60.0
    """With `rrf`: the smaller, the more the first ranks of a route count."""
    scale: Literal["range", "deviation"] = "range"
    """With `weighted_sum`: a list's scores count from its lowest up, in parts of its range or of its deviation."""
    weights: Literal["fitted", "equal"] | dict[str, Weight] = "fitted"
    """`fitted`: chosen on the rank window (8,192 of its requests) to maximise NDCG@10 of the fused list."""
    per_route: PositiveInt = 200
    """Items asked of each route."""
    candidates: PositiveInt = 200
    """Items kept for the ranker."""

    def settled(self, weights: dict[str, float]) -> FusionSpec:
        """The same with these weights, as a bundle keeps it."""
        return FusionSpec.model_validate({**self.model_dump(), "weights": weights})
