"""The union of all routes' settings; torch-free, so that a configuration can be read anywhere."""

from typing import Annotated

from pydantic import Field

from recsys.recall.settings.content import BM25Config, SentenceConfig, TextVectorsConfig, TFIDFConfig
from recsys.recall.settings.factors import ALSConfig, BPRConfig
from recsys.recall.settings.neighbours import EASEConfig, GraphFilterConfig, ItemCFConfig, SwingConfig, UserCFConfig
from recsys.recall.settings.sequences import DeepWalkConfig, Item2VecConfig, Node2VecConfig
from recsys.recall.settings.static import FreshConfig, PopularConfig, SegmentPopularConfig, TrendingConfig
from recsys.recall.settings.two_tower import (
    DSSMConfig,
    FMConfig,
    GRU4RecConfig,
    SASRecConfig,
    SimpleXConfig,
    YouTubeDNNConfig,
)

__all__ = ["RouteConfig"]

RouteConfig = Annotated[
    PopularConfig
    | SegmentPopularConfig
    | FreshConfig
    | TrendingConfig
    | ItemCFConfig
    | UserCFConfig
    | SwingConfig
    | EASEConfig
    | GraphFilterConfig
    | ALSConfig
    | BPRConfig
    | Item2VecConfig
    | DeepWalkConfig
    | Node2VecConfig
    | BM25Config
    | TFIDFConfig
    | TextVectorsConfig
    | SentenceConfig
    | DSSMConfig
    | YouTubeDNNConfig
    | SimpleXConfig
    | GRU4RecConfig
    | SASRecConfig
    | FMConfig,
    Field(discriminator="kind"),
]
