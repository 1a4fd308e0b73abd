"""Interactions between fields."""

from torch import Tensor

__all__ = ["second_order"]


def second_order(request: Tensor, candidate: Tensor) -> Tensor:
    """Σ_{i<j} ⟨v_i, v_j⟩ over the fields of request and candidate together (Rendle 2010, lemma 3.1).

    ½·Σ_d((Σ_i v_id)² − Σ_i v_id²), with the sums over the request's fields taken once a request.

    Args:
        request: `(B, F, D)`; F may be 0.
        candidate: `(B, C, G, D)`.

    Returns:
        `(B, C)`.
    """
    total = request.sum(1).unsqueeze(1) + candidate.sum(2)
    squares = request.square().sum((1, 2)).unsqueeze(1) + candidate.square().sum((2, 3))
    return 0.5 * (total.square().sum(-1) - squares)
