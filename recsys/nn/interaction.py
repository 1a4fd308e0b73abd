"""Interactions between fields.

Vectors of the request's fields are `(B, F, D)`, those of the candidates' fields `(B, C, G, D)`. A pair of two request
fields is worked out once a request; F may be 0.
"""

import torch
from torch import Tensor

__all__ = [
    "above_diagonal",
    "bi_interaction",
    "field_aware",
    "field_weighted",
    "pair_products",
    "second_order",
    "together",
]


def together(request: Tensor, candidate: Tensor) -> Tensor:
    """The request's fields before those of each candidate: `(B, F, …)` and `(B, C, G, …)` to `(B, C, F + G, …)`."""
    repeated = request.unsqueeze(1).expand(-1, candidate.shape[1], *request.shape[1:])
    return torch.cat([repeated, candidate], dim=2)


def bi_interaction(request: Tensor, candidate: Tensor) -> Tensor:
    """Σ_{i<j} v_i ∘ v_j over the fields of request and candidate together (He 2017, equation 4).

    ½·((Σ_i v_i)² − Σ_i v_i²), with the sums over the request's fields taken once a request.

    Args:
        request: `(B, F, D)`.
        candidate: `(B, C, G, D)`.

    Returns:
        `(B, C, D)`.
    """
    total = request.sum(1).unsqueeze(1) + candidate.sum(2)
    squares = request.square().sum(1).unsqueeze(1) + candidate.square().sum(2)
    return 0.5 * (total.square() - squares)


def second_order(request: Tensor, candidate: Tensor) -> Tensor:
    """Σ_{i<j} ⟨v_i, v_j⟩ over the fields of request and candidate together (Rendle 2010, lemma 3.1): `(B, C)`."""
    return bi_interaction(request, candidate).sum(-1)


def field_weighted(request: Tensor, candidate: Tensor, weights: Tensor) -> Tensor:
    """Σ_{i<j} r_ij·⟨v_i, v_j⟩ (Pan 2018, equation 4).

    The request's fields are folded into one vector for each of a candidate's, so that a candidate costs G² products of
    vectors, however many fields the request has.

    Args:
        request: `(B, F, D)`.
        candidate: `(B, C, G, D)`.
        weights: r `(N, N)`, N = F + G, of which only the part above the diagonal is read.

    Returns:
        `(B, C)`.
    """
    count = request.shape[1]
    above = weights.triu(1)
    met = above[count:, count:] @ candidate
    if count == 0:
        return (candidate * met).sum((2, 3))
    met = met + (above[:count, count:].T @ request).unsqueeze(1)
    own = (request * (above[:count, :count] @ request)).sum((1, 2))
    return own.unsqueeze(1) + (candidate * met).sum((2, 3))


def field_aware(request: Tensor, candidate: Tensor) -> Tensor:
    """Σ_{i<j} ⟨v_i,j , v_j,i⟩: each field has a vector for each field it meets (Juan 2016, equation 4).

    Args:
        request: `(B, F, N, D)`, N = F + G: vectors of the request's fields for all fields, request first.
        candidate: `(B, C, G, N, D)`.

    Returns:
        `(B, C)`.
    """
    count = request.shape[1]
    pairs = _own_pairs(candidate[:, :, :, count:])
    if count == 0:
        return pairs
    mine = request[:, :, count:].transpose(1, 2).flatten(1)
    theirs = candidate[:, :, :, :count].flatten(2)
    return pairs + _own_pairs(request[:, :, :count]).unsqueeze(1) + (theirs @ mine.unsqueeze(-1)).squeeze(-1)


def _own_pairs(vectors: Tensor) -> Tensor:
    """Σ_{i<j} ⟨v_i,j , v_j,i⟩ of `(…, K, K, D)`: `(…)`."""
    every = (vectors * vectors.transpose(-3, -2)).sum((-3, -2, -1))
    same = vectors.diagonal(dim1=-3, dim2=-2).square().sum((-2, -1))
    return 0.5 * (every - same)


def pair_products(request: Tensor, candidate: Tensor, *, squares: bool = False) -> tuple[Tensor, Tensor]:
    """v_i ∘ v_j of all pairs i < j, those of two request fields apart.

    Args:
        request: `(B, F, D)`.
        candidate: `(B, C, G, D)`.
        squares: whether v_i ∘ v_i are among them.

    Returns:
        `(B, F(F−1)/2, D)`, and `(B, C, F·G + G(G−1)/2, D)`: request with candidate, then candidate with candidate; F
        and G more of them with squares.
    """
    mixed = request.unsqueeze(1).unsqueeze(3) * candidate.unsqueeze(2)
    return _products(request, squares), torch.cat([mixed.flatten(2, 3), _products(candidate, squares)], dim=2)


def _products(vectors: Tensor, squares: bool) -> Tensor:
    """`(…, K, D)` to `(…, K(K−1)/2, D)`, or `(…, K(K+1)/2, D)` with squares."""
    first, second = above_diagonal(vectors.shape[-2], diagonal=squares)
    return vectors[..., first, :] * vectors[..., second, :]


def above_diagonal(count: int, *, diagonal: bool = False) -> tuple[list[int], list[int]]:
    """Rows and columns of a square matrix's upper triangle, row by row; lists, which a traced graph takes as constants.

    Example:
        >>> above_diagonal(3)
        ([0, 0, 1], [1, 2, 2])
    """
    start = 0 if diagonal else 1
    places = [(row, column) for row in range(count) for column in range(row + start, count)]
    return [row for row, _ in places], [column for _, column in places]
