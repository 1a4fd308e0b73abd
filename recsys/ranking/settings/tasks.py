"""Settings of rankers that learn several tasks at once."""

from typing import Literal

from pydantic import Field, PositiveInt

from recsys.ranking.settings.base import NetworkSettings

__all__ = ["ESMMConfig", "MMoEConfig", "MultiTaskSettings", "PLEConfig", "SharedBottomConfig"]


class MultiTaskSettings(NetworkSettings):
    """Settings of every ranker of several tasks."""

    hidden: tuple[PositiveInt, ...] = Field((128, 64), min_length=1)
    """Widths of the layers that tasks share; of each expert, where there are experts."""
    tower_hidden: tuple[PositiveInt, ...] = (32,)
    """Widths of the layers that each task has for itself."""


class SharedBottomConfig(MultiTaskSettings):
    """One network for all tasks, then a tower for each (Caruana 1997)."""

    kind: Literal["shared_bottom"]


class MMoEConfig(MultiTaskSettings):
    """Experts that all tasks share, mixed by a gate for each task (Ma 2018, KDD)."""

    kind: Literal["mmoe"]
    experts: PositiveInt = 8
    """Networks that tasks share."""


class PLEConfig(MultiTaskSettings):
    """Shared experts and experts of one task only, extracted level by level (Tang 2020)."""

    kind: Literal["ple"]
    levels: PositiveInt = 2
    """Layers of experts, each of the widths in `hidden`."""
    shared_experts: PositiveInt = 2
    """Of each level, for all tasks."""
    task_experts: PositiveInt = 2
    """Of each level, for each task."""


class ESMMConfig(NetworkSettings):
    """Click, then conversion, over all impressions: two networks on shared embeddings (Ma 2018, SIGIR)."""

    kind: Literal["esmm"]
