"""What is reported, as configured."""

from pydantic import PositiveInt

from recsys.settings import Settings

__all__ = ["EvaluationConfig"]


class EvaluationConfig(Settings):
    """What is reported."""

    ks: tuple[PositiveInt, ...] = (
        5,
        10,
        20,
        50,
        100,
    )
    """List lengths; 10 is always among them. Default with a smaller `fusion.per_route` or `fusion.candidates`: those of
    the default that are not above it, or it alone."""
    bootstrap: PositiveInt = 1000
    """Resamples behind a confidence interval."""
    oracle: str | None = None
    """Folder of a simulated world (`recsys data synth`): lists are also judged by what users would really click."""
