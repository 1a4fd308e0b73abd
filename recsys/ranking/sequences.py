"""What rankers that compare past items with the candidate share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import InputSpec
from recsys.ranking.base import Ranker, side_by_side
from recsys.ranking.settings.sequences import BSTConfig, DIENConfig, DINConfig, DSINConfig

__all__ = ["Compared", "SequenceRanker", "check_heads"]


@dataclass(frozen=True, slots=True)
class Compared:
    """A batch, embedded; K is the length of an item's vector in the comparison.

    Attributes:
        request: `(B, R)` embeddings and numbers of the request; R may be 0.
        candidate: `(B, C, M)` those of the candidates.
        query: `(B, C, K)` the candidates' embeddings of the compared fields.
        keys: `(B, L, K)` those of past items, oldest first.
        real: `(B, L)` true at real past items, which come first.
    """

    request: Tensor
    candidate: Tensor
    query: Tensor
    keys: Tensor
    real: Tensor


class SequenceRanker(Ranker):
    """A deep network over the inputs and over what a subclass finds in the history.

    Args:
        spec: inputs, as `select_inputs` gives them: each field `history.X` has its `item.X`; at least one does.
        config: sizes.

    Attributes:
        width: K, length of an item's vector in the comparison.

    Raises:
        ConfigError: there is no such field.
    """

    def __init__(self, spec: InputSpec, config: DINConfig | DIENConfig | DSINConfig | BSTConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        own = self.inputs
        offered = {field.name.partition(".")[2]: place for place, field in enumerate(own.candidate)}
        if not own.past:
            raise ConfigError(
                f"ranking.model: {config.kind} compares past items with the candidate, but no categorical field is in "
                "both features.history.fields and the model's item inputs; name one, such as item_id or a category"
            )
        self.target = [offered[field.name.partition(".")[2]] for field in own.past]
        self.width = len(own.past) * own.dim

    def compared(self, inputs: Mapping[str, Tensor]) -> Compared:
        """The embedded batch."""
        request, candidate, past = self.inputs.vectors_and_past(inputs)
        query = torch.stack([candidate[:, :, place] for place in self.target], dim=2).flatten(2)
        sides = side_by_side((request, candidate), self.inputs.numbers(inputs))
        return Compared(*sides, query, past.flatten(2), inputs[HISTORY_MASK.name] > 0)


def check_heads(config: BSTConfig | DSINConfig, width: int) -> None:
    """Raises `ConfigError` when the heads do not divide an item's vector of this width."""
    if width % config.heads:
        raise ConfigError(
            f"ranking.model.heads: {config.heads} do not divide an item's vector of {width} (embedding_dim "
            f"{config.embedding_dim} times the compared fields); choose another embedding_dim or number of heads"
        )
