"""Settings of deep networks that cross their inputs."""

from typing import Literal

from recsys.ranking.settings.base import NetworkSettings

__all__ = ["DeepFMConfig"]


class DeepFMConfig(NetworkSettings):
    """FM and a deep network on shared embeddings (Guo 2017)."""

    kind: Literal["deepfm"]
