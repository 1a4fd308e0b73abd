"""Settings of deep networks that cross their inputs."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from recsys.problems import Problem
from recsys.ranking.settings.base import Activation, Dropout, EmbeddingSettings, NetworkSettings, Norm

__all__ = [
    "AFMConfig",
    "AutoIntConfig",
    "DCNConfig",
    "DCNv2Config",
    "DeepFMConfig",
    "FNNConfig",
    "FinalMLPConfig",
    "NFMConfig",
    "PNNConfig",
    "WideDeepConfig",
    "XDeepFMConfig",
]


class WideDeepConfig(NetworkSettings):
    """A linear model with crosses named by hand, beside a deep network (Cheng 2016)."""

    kind: Literal["widedeep"]
    crosses: tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...] = ()
    """Lists of two or more categorical inputs by full name (`[user.group, item.genres]`): every combination of their
    values gets a weight."""
    cross_buckets: PositiveInt = 100_000
    """Weights of a cross at most: with more combinations than that, some share one by chance."""


class DeepFMConfig(NetworkSettings):
    """FM and a deep network on shared embeddings (Guo 2017)."""

    kind: Literal["deepfm"]


class FNNConfig(NetworkSettings):
    """A network on the vectors of a factorisation machine that is trained first (Zhang 2016)."""

    kind: Literal["fnn"]
    activation: Activation = "tanh"
    """Between the layers."""
    pretrain_epochs: NonNegativeInt = 1
    """Passes of the factorisation machine over the samples before the network learns; 0: none."""


class PNNConfig(NetworkSettings):
    """A network on the vectors and on their products by pairs (Qu 2016)."""

    kind: Literal["pnn"]
    product: Literal["inner", "outer", "both"] = "inner"
    """`inner`: ⟨v_i, v_j⟩ of every pair; `outer`: the matrix v·vᵀ of the sum v of all vectors."""


class NFMConfig(NetworkSettings):
    """A network on the sum of all pairs' products (He and Chua 2017)."""

    kind: Literal["nfm"]
    norm: Norm = "batch"
    """Normalisation of the pooled pairs and before each activation: over the batch, over the layer, or none."""


class AFMConfig(EmbeddingSettings):
    """A factorisation machine that attends to some pairs more than to others (Xiao 2017)."""

    kind: Literal["afm"]
    attention_dim: PositiveInt = 16
    """Width of the layer that weighs a pair."""
    dropout: Dropout = 0.2
    """On the pooled pairs."""


class DCNConfig(NetworkSettings):
    """A network of explicit crosses, one vector a layer, beside a deep one (Wang 2017)."""

    kind: Literal["dcn"]
    cross_layers: PositiveInt = 3
    """Layers of crosses; each makes polynomials of one degree more."""


class DCNv2Config(NetworkSettings):
    """A network of explicit crosses, one matrix a layer, beside a deep one or below it (Wang 2021)."""

    kind: Literal["dcnv2"]
    cross_layers: PositiveInt = 3
    """Layers of crosses; each makes polynomials of one degree more."""
    structure: Literal["parallel", "stacked"] = "parallel"
    """Whether the deep network reads the inputs, as the crosses do, or what the crosses made of them."""
    rank: PositiveInt | None = None
    """Of the matrices; `null`: full."""
    experts: PositiveInt = 1
    """Low-rank matrices a layer, among which a gate chooses by input; more than one needs a `rank`."""

    @model_validator(mode="after")
    def _experts_have_a_rank(self) -> Self:
        if self.experts > 1 and self.rank is None:
            what = f"found {self.experts} without a rank; set rank, such as 32, or leave one expert"
            raise Problem(what, at=("experts",))
        return self


class XDeepFMConfig(NetworkSettings):
    """Explicit products of two, three and more inputs beside a deep network (Lian 2018)."""

    kind: Literal["xdeepfm"]
    maps: tuple[PositiveInt, ...] = Field((64, 64), min_length=1)
    """Sums of weighted products a layer; the k-th layer's are of k + 1 inputs."""


class AutoIntConfig(NetworkSettings):
    """Inputs that attend to one another, beside a deep network (Song 2019)."""

    kind: Literal["autoint"]
    attention_layers: PositiveInt = 3
    """Layers of attention."""
    heads: PositiveInt = 2
    """Of each layer."""
    head_dim: PositiveInt = 16
    """Numbers a head."""
    hidden: tuple[PositiveInt, ...] = (128, 64)
    """Widths of the layers of the network beside, the paper's AutoInt+; `[]`: none, its AutoInt."""


class FinalMLPConfig(NetworkSettings):
    """Two networks that see the inputs each through its own gate, and are multiplied (Mao 2023)."""

    kind: Literal["finalmlp"]
    gate_hidden: NonNegativeInt = 64
    """Width of the layer within a gate; 0: no gates, and a request's inputs cost one multiplication a request."""
    heads: PositiveInt = 1
    """Parts into which both networks' last layers are cut before they are multiplied; divides its width."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden[-1] % self.heads:
            what = f"found {self.heads}, expected a divisor of {self.hidden[-1]}, the last width of hidden"
            raise Problem(what, at=("heads",))
        return self
