"""The root configuration: one YAML file describes one pipeline."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from recsys.data.config import DataConfig
from recsys.data.split import SplitConfig
from recsys.features.config import FeaturesConfig
from recsys.ranking.configs import RankingConfig
from recsys.recall.configs import RouteConfig
from recsys.retrieval.config import FusionConfig
from recsys.settings import Settings

__all__ = ["Config"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]


class EvaluationConfig(Settings):
    """What is reported."""

    ks: tuple[PositiveInt, ...] = (
        5,
        10,
        20,
        50,
        100,
    )
    bootstrap: PositiveInt = 1000
    """Resamples behind a confidence interval."""


class PolicyConfig(Settings):
    """Rules of the funnel, the same in evaluation and in service."""

    exclude_seen: Literal["never", "always", "recent"] = "always"
    recent: PositiveInt = 50
    """With `recent`: how many of the last items count as seen."""


class TrackingConfig(Settings):
    """Where runs are recorded."""

    kind: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None
    """`null`: SQLite inside the workspace."""
    experiment: str | None = None
    """`null`: the name of the pipeline."""


class Config(Settings):
    """A pipeline, from log to bundle."""

    name: Name
    workspace: str
    """Folder of artifacts, runs and bundles, relative to where the command runs."""
    seed: int = 42
    data: DataConfig
    split: SplitConfig
    features: FeaturesConfig = FeaturesConfig()
    routes: Annotated[dict[Name, RouteConfig], Field(min_length=1)]
    fusion: FusionConfig = FusionConfig()
    ranking: RankingConfig | None = None
    """`null`: the fused list is the answer."""
    policy: PolicyConfig = PolicyConfig()
    refit: Literal["none", "recall", "all"] = "recall"
    """What is fitted again on everything before the test window once settings are chosen."""
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
