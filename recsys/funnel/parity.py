"""When two answers count as the same: scores within a band, lists equal but for swaps inside it."""

from collections.abc import Sequence

__all__ = ["difference", "tolerance"]


def tolerance(scores: Sequence[float]) -> float:
    """1e-5 + 1e-5 · max |score|: what batching and instruction sets may move."""
    return 1e-5 + 1e-5 * max((abs(score) for score in scores), default=0.0)


def difference(
    expected: Sequence[str], expected_scores: Sequence[float], found: Sequence[str], found_scores: Sequence[float]
) -> str | None:
    """What tells two ranked lists apart, or `None` when they are the same within the band.

    Args:
        expected: item ids, best first.
        expected_scores: one a item, descending.
        found: the list to judge.
        found_scores: its scores.
    """
    if len(expected) != len(found):
        return f"{len(found)} items, expected {len(expected)}"
    twice = next((item for item in found if found.count(item) > 1), None)
    if twice is not None:
        return f"item {twice!r} comes twice"
    band = tolerance(expected_scores)
    for rank, (score, other) in enumerate(zip(expected_scores, found_scores, strict=True), start=1):
        if not abs(score - other) <= band:
            return f"score {other:.7g} at rank {rank}, expected {score:.7g} ± {band:.2g}"
    return _moved(dict(zip(expected, expected_scores, strict=True)), dict(zip(found, found_scores, strict=True)), band)


def _moved(expected: dict[str, float], found: dict[str, float], band: float) -> str | None:
    last = min(expected.values(), default=0.0)
    for item, score in expected.items():
        # An item may drop off the end only when its score ties with the last one.
        other = found.get(item, last)
        if abs(score - other) > (band if item in found else 2 * band):
            return f"item {item!r} scored {other:.7g}, expected {score:.7g} ± {band:.2g}"
    return None
