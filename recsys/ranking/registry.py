"""Every ranker by the kind a configuration gives it."""

import importlib
from typing import TYPE_CHECKING

from recsys.ranking.configs import MULTI_TASK, TREES, RankerConfig
from recsys.ranking.settings.base import EmbeddingSettings

if TYPE_CHECKING:
    from recsys.features.batch import InputSpec
    from recsys.ranking.base import Ranker

__all__ = ["RANKERS", "build_ranker", "ranker_modules"]

RANKERS: dict[str, str] = {
    "lr": "recsys.ranking.lr",
    "fm": "recsys.ranking.fm",
    "widedeep": "recsys.ranking.widedeep",
    "deepfm": "recsys.ranking.deepfm",
    "ffm": "recsys.ranking.ffm",
    "fwfm": "recsys.ranking.fwfm",
    "fnn": "recsys.ranking.fnn",
    "pnn": "recsys.ranking.pnn",
    "nfm": "recsys.ranking.nfm",
    "afm": "recsys.ranking.afm",
    "dcn": "recsys.ranking.dcn",
    "dcnv2": "recsys.ranking.dcnv2",
    "xdeepfm": "recsys.ranking.xdeepfm",
    "autoint": "recsys.ranking.autoint",
    "finalmlp": "recsys.ranking.finalmlp",
    "din": "recsys.ranking.din",
    "dien": "recsys.ranking.dien",
    "dsin": "recsys.ranking.dsin",
    "bst": "recsys.ranking.bst",
    "shared_bottom": "recsys.ranking.shared_bottom",
    "mmoe": "recsys.ranking.mmoe",
    "ple": "recsys.ranking.ple",
    "esmm": "recsys.ranking.esmm",
}
"""Networks: modules, imported when they are needed, for all of them need torch. Rankers made of trees are apart, in
`recsys.ranking.trees`."""


_TREES = ("fit", "lightgbm", "xgboost")


def ranker_modules(config: RankerConfig) -> tuple[str, ...]:
    """The modules of a ranker, to be imported when they are needed."""
    if config.kind in TREES:
        return tuple(f"recsys.ranking.trees.{name}" for name in _TREES)
    return (RANKERS[config.kind],)


def build_ranker(config: RankerConfig, spec: "InputSpec", tasks: int = 1) -> "Ranker":
    """A freshly drawn ranker for these inputs.

    Args:
        config: its settings.
        spec: its inputs.
        tasks: how many it learns; 1 but for rankers of several tasks.
    """
    from recsys.ranking.initialise import initialise

    build = importlib.import_module(RANKERS[config.kind]).build
    ranker: Ranker = build(config, spec, tasks) if config.kind in MULTI_TASK else build(config, spec)
    if isinstance(config, EmbeddingSettings):
        initialise(ranker, config)
    return ranker
