"""How item vectors are searched, and how the lists of several routes become one list of candidates."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from recsys.bundle.format import FusionSpec
from recsys.settings import Settings

__all__ = [
    "AutoIndex",
    "FlatIndex",
    "FusionConfig",
    "HNSWIndex",
    "IVFIndex",
    "IVFPQIndex",
    "IndexConfig",
    "IndexSpec",
    "PQIndex",
    "SQIndex",
]

Weight = Annotated[float, Field(ge=0)]


class FlatIndex(Settings):
    """Every item is looked at: exact, and fast enough up to some 50,000 items."""

    kind: Literal["flat"]


class _Lists(Settings):
    nlist: PositiveInt | None = None
    """Lists the vectors are clustered into; `null`: 4·√items. Never more than one for 39 items."""
    nprobe: PositiveInt = 16
    """Lists a search looks into."""


class _Codes(Settings):
    m: PositiveInt | None = None
    """Bytes of a code (at 8 bits): parts that a vector is cut into; `null`: one for 4 numbers."""
    nbits: Annotated[int, Field(ge=4, le=12)] = 8
    """Bits for each part. Fewer are used where there are not 39 items for every code."""


class _Refined(Settings):
    refine: Annotated[float, Field(ge=1)] = 4.0
    """So many times more items than asked for are found by their codes, and put in order by their vectors."""


class IVFIndex(_Lists):
    """Vectors in clusters, of which a search looks into the nearest few (Jégou 2011, section 4)."""

    kind: Literal["ivf"]


class HNSWIndex(Settings):
    """A navigable graph of near vectors (Malkov 2020): the fastest at high recall, the slowest to build."""

    kind: Literal["hnsw"]
    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours kept of every vector."""
    ef_construction: PositiveInt = 200
    """Breadth of the search when a vector is added."""
    ef_search: PositiveInt = 64
    """Breadth of a search."""


class PQIndex(_Codes, _Refined):
    """Every item's code is looked at, a byte for a few numbers of its vector (Jégou 2011, section 3)."""

    kind: Literal["pq"]


class IVFPQIndex(_Lists, _Codes, _Refined):
    """Codes in clusters (Jégou 2011): for millions of items."""

    kind: Literal["ivf_pq"]


class SQIndex(_Refined):
    """Every item is looked at with its numbers rounded."""

    kind: Literal["sq"]
    type: Literal["4bit", "8bit", "fp16"] = "8bit"
    """What a number is rounded to."""


IndexSpec = Annotated[
    FlatIndex | IVFIndex | HNSWIndex | PQIndex | IVFPQIndex | SQIndex,
    Field(discriminator="kind"),
]


class AutoIndex(Settings):
    """Chosen by the number of items, and tuned on requests of the training window against exact search.

    Up to 50,000 items `flat`, up to a million `hnsw`, beyond that `ivf_pq`; the smallest effort that reaches the
    recall is kept. Where none does, `ivf`, which does if it looks into enough lists.
    """

    kind: Literal["auto"]
    at: PositiveInt = 200
    """Length of the lists that are compared: as `fusion.per_route`."""
    recall: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the exact list that has to be found."""
    latency_ms: PositiveFloat | None = None
    """What a search for one request may take. Where an exact one takes longer, fewer than 50,000 items get `hnsw`,
    too; the run warns when recall cannot be had in that time. Which index is chosen then depends on the machine."""


def _of_kind(value: object) -> object:
    """`index: auto` for `index: {kind: auto}`."""
    return {"kind": value} if isinstance(value, str) else value


IndexConfig = Annotated[
    FlatIndex | IVFIndex | HNSWIndex | PQIndex | IVFPQIndex | SQIndex | AutoIndex,
    Field(discriminator="kind"),
    BeforeValidator(_of_kind),
]


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
    """`fitted`: chosen on the rank window (8,192 of its requests) to maximise NDCG@10 of the fused list. Default where
    `split.rank` is 0: `equal`."""
    per_route: PositiveInt = 200
    """Items asked of each route. Default with larger `evaluation.ks`: the largest of them."""
    candidates: PositiveInt = 200
    """Items kept for the ranker. Default with larger `evaluation.ks`: the largest of them."""

    def settled(self, weights: dict[str, float]) -> FusionSpec:
        """The same with these weights, as a bundle keeps it."""
        return FusionSpec.model_validate({**self.model_dump(), "weights": weights})
