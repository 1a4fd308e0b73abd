"""A ranker that learns from another one's scores beside the labels."""

from collections.abc import Mapping

from torch import Tensor, nn

from recsys.losses.distillation import distillation
from recsys.ranking.configs import TeacherConfig
from recsys.training.module import Auxiliary

__all__ = ["TEACHER", "Distilled"]

TEACHER = "route.teacher"
"""The teacher's logits `(Q, C)` or `(Q, C, T)` among the samples' inputs; no model reads them."""


class Distilled(nn.Module):
    """A student while it is trained: to its loss comes weight·τ²·KL(teacher ‖ student) (Hinton 2015, section 2).

    Every candidate counts the same in that term, whatever the samples' weights say.

    Args:
        student: a ranker.
        config: weight, τ, and what the probabilities are of.
    """

    def __init__(self, student: nn.Module, config: TeacherConfig) -> None:
        super().__init__()
        self.student = student
        self.config = config

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, T)`: the student's."""
        scores: Tensor = self.student(inputs, mask)
        return scores

    def with_auxiliary(self, inputs: Mapping[str, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """`(B, C, T)`, and how far they are from the teacher's, with the student's own term if it has one."""
        own: Tensor | float = 0.0
        if isinstance(self.student, Auxiliary):
            scores, own = self.student.with_auxiliary(inputs, mask)
        else:
            scores = self.student(inputs, mask)
        teacher = inputs[TEACHER].reshape(scores.shape)
        apart = distillation(scores, teacher, mask=mask, temperature=self.config.temperature, over=self.config.over)
        return scores, own + self.config.weight * apart
