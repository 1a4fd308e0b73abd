"""Processor time, which other programs on the machine change less than the time on the clock."""

import resource
from collections.abc import Callable


def processor_seconds(work: Callable[[], object]) -> float:
    """User and system time of a call, of this process and of those that it waited for."""
    before = _now()
    work()
    return _now() - before


def _now() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
