"""Settings of what a ranker learns from."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recsys.problems import Problem, Problems
from recsys.settings import Settings

__all__ = ["SYNTHETIC", "SamplesConfig", "WeightsConfig"]


class WeightsConfig(Settings):
    """How much each sample counts. What is not set here counts 1."""

    half_life_days: PositiveFloat | None = None
    """Age at which an event counts half, from the newest that the ranker learns from; `null`: old ones count as new."""
    value: str | None = None
    """One of `data.interactions.labels`, such as watch time or order value: positives count in proportion to it."""
    propensity: bool = False
    """Positives count the inverse of `data.interactions.propensity`: those in places that are rarely looked at count
    more, so that the ranker does not learn the places."""
    least_propensity: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Smaller ones count as this one."""


class SamplesConfig(Settings):
    """What the ranker learns from.

    `candidates`: one group a request of the rank window: its positives, negatives among the fused candidates, and
    items drawn from the catalogue. `events`: the labelled rows of the training windows, as they are (groups by
    `request_id` if given).
    """

    kind: Literal["candidates", "events"] = "candidates"
    """Where positives and negatives come from; `events` by default where the log has no users and items."""
    candidate_negatives: NonNegativeInt = 50
    """Negatives a request, drawn from the fused candidates."""
    uniform_negatives: NonNegativeInt = 0
    """Negatives a request, drawn evenly from the catalogue."""
    popularity_negatives: NonNegativeInt = 0
    """Negatives a request, drawn from the catalogue by how often items are met in the recall window."""
    popularity_power: NonNegativeFloat = 0.75
    """They are drawn in proportion to that count to this power; 0: evenly among what was met, 1: as often as met."""
    negatives_per_positive: PositiveFloat | None = None
    """The ratio to bring the classes to, by `imbalance`; `null`: they stay as they come."""
    imbalance: Literal["under_sample", "over_sample", "class_weight", "smote", "adasyn"] = "under_sample"
    """How the ratio is reached: negatives are left out at random (of `candidates`, in each group), positives are
    repeated, weigh more, or are made up between others (`smote`, `adasyn`), for which all inputs must be numbers.
    Log-odds are corrected for it; for what is left out of `candidates`, by `logq`."""
    hard_negatives: NonNegativeInt = 0
    """Of a group's negatives, only so many teach in an epoch: those that the ranker scores highest when it begins, and
    beside them all that were drawn from the catalogue; 0: all teach."""
    logq: bool = False
    """Correct scores of `candidates` in training by the logarithm of the chance that each is drawn as a negative."""
    per: Literal["window", "event"] = "window"
    """A request for each user and window (positives: all its events), or for each event with its own history."""
    weights: WeightsConfig = WeightsConfig()
    """How much each sample counts."""
    length_pool: PositiveInt = 8
    """Batches that are drawn together and sorted by the length of the history, so that rankers that read it work on
    little padding; 1: not sorted."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        problems = [*self._unasked(), *self._impossible()]
        if problems:
            raise Problems(problems)
        return self

    def _unasked(self) -> Iterator[Problem]:
        """Settings of what is not done."""
        if self.imbalance != "under_sample" and self.negatives_per_positive is None:
            yield Problem(
                f"found {self.imbalance} without negatives_per_positive; say the ratio to reach, such as 4",
                at=("imbalance",),
            )
        if self.kind == "events":
            drawn = [name for name in _CATALOGUE if getattr(self, name)]
            for name in drawn:
                what = f"found {getattr(self, name)} with samples of kind events, whose negatives are rows of the log"
                yield Problem(f"{what}; expected 0, or kind: candidates", at=(name,))

    def _impossible(self) -> Iterator[Problem]:
        if self.kind == "candidates" and self.imbalance not in ("under_sample", "class_weight"):
            yield Problem(
                f"found {self.imbalance} with samples of kind candidates, whose negatives are drawn, in any number "
                "that is asked for; expected under_sample or class_weight",
                at=("imbalance",),
            )
        if self.imbalance in SYNTHETIC and self.weights != WeightsConfig():
            what = f"found weights with {self.imbalance}: what is made up has no age, value or place; leave them out"
            yield Problem(what, at=("weights",))
        if self.logq and self.kind == "events":
            what = "found true with samples of kind events: negatives_per_positive corrects by itself"
            yield Problem(f"{what}; leave it out", at=("logq",))
        elif self.logq and not self.candidate_negatives:
            yield Problem(
                "found true with candidate_negatives: 0: positives are candidates, and no other candidate could be "
                "drawn; expected candidate_negatives of at least 1",
                at=("logq",),
            )
        if self.logq and self.hard_negatives:
            what = (
                "with logq, which corrects for chances, and the hardest are not left to chance; leave one of them out"
            )
            yield Problem(f"found {self.hard_negatives} {what}", at=("hard_negatives",))


SYNTHETIC = ("smote", "adasyn")
"""Ways to a ratio that make positives up."""
_CATALOGUE = ("uniform_negatives", "popularity_negatives")
