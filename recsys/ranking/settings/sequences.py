"""Settings of rankers that read the history."""

from typing import Literal

from pydantic import PositiveInt

from recsys.ranking.settings.base import Activation, NetworkSettings

__all__ = ["DINConfig"]


class DINConfig(NetworkSettings):
    """Target attention over the history (Zhou 2018)."""

    kind: Literal["din"]
    attention_hidden: tuple[PositiveInt, ...] = (32,)
    """Widths of the layers that weigh a past item against the candidate."""
    activation: Activation = "dice"
    """Between the layers."""
    history_length: PositiveInt = 50
    """The most recent items that are looked at."""
