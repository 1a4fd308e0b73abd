"""How the lists of several routes become one list of candidates."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys.settings import Settings

__all__ = ["FusionConfig"]

Weight = Annotated[float, Field(ge=0)]


class FusionConfig(Settings):
    """Weighted reciprocal rank fusion (Cormack 2009): Σ w_route / (k + rank)."""

    k: PositiveFloat = 60.0
    """The smaller, the more the first ranks of a route count."""
    weights: Literal["fitted", "equal"] | dict[str, Weight] = "fitted"
    """`fitted`: chosen on the rank window to maximise NDCG@10 of the fused list."""
    per_route: PositiveInt = 200
    """Items asked of each route."""
    candidates: PositiveInt = 200
    """Items kept for the ranker."""
