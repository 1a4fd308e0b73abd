"""One score of several tasks' logits."""

from dataclasses import dataclass

import numpy as np

from recsys.features.batch import Floats

__all__ = ["Tasks"]


@dataclass(frozen=True, slots=True)
class Tasks:
    """What the logits of a ranker of several tasks are of, and how they make up one score.

    Attributes:
        names: of the T tasks.
        powers: of each task's probability, not negative, one of them positive.
    """

    names: tuple[str, ...]
    powers: tuple[float, ...]

    def score(self, logits: Floats) -> Floats:
        """`(B, C, T)` to `(B, C)`: Σ power · log σ(logit), the logarithm of the product of powers of probabilities.

        Where one task alone has a power, its logit: the same order, and as good a probability as a single task's.
        """
        counted = [task for task, power in enumerate(self.powers) if power > 0]
        if len(counted) == 1:
            return logits[..., counted[0]]
        powers = np.asarray([self.powers[task] for task in counted], dtype=np.float32)
        total: Floats = -(np.logaddexp(0, -logits[..., counted]) * powers).sum(axis=-1)
        return total
