"""Whether a log holds what the configured pipeline learns from and is judged by: asked before anything is trained.

Only what is sure to fail is refused: a stage that would stop, or routes of which none could find anything. One route of
several that will learn nothing is a warning.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate import NOTHING_TO_FIND
from pipelines.graph import Observer
from pipelines.inputs import Log, withheld_length
from pipelines.stage import Stage
from pipelines.store import Artifact
from recsys.config import Config
from recsys.data.split_config import RANK, RECALL, TEST, VALID
from recsys.errors import DataError
from recsys.features.history import Requests, window_requests
from recsys.recall.settings.base import HistoryFacts

__all__ = ["LearnableCheck", "refusals", "warnings"]


class LearnableCheck(Observer):
    """Looks at the split log once, before the first stage after it runs.

    Args:
        config: the pipeline.
        watcher: told of routes that will learn nothing.
    """

    def __init__(self, config: Config, watcher: Observer) -> None:
        self._config = config
        self._watcher = watcher
        self._planned: frozenset[str] = frozenset()
        self._split: Path | None = None

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Observer`."""
        self._planned = frozenset(stage.name for stage in stages)

    def on_skip(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        self.on_finish(stage, artifact)

    def on_finish(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        if stage.name == "split":
            self._split = artifact.folder

    def on_start(self, stage: Stage, why: str) -> None:
        """See `Observer`.

        Raises:
            DataError: a stage of the plan cannot do its work on this log.
        """
        if self._split is None or self._config.data.rows_only:
            return
        log, self._split = Log.load(self._split), None
        problems = list(refusals(self._config, log, self._planned))
        if problems:
            raise DataError("\n".join(problems))
        for text in warnings(self._config, log, self._planned):
            self._watcher.on_message(stage, text)


def refusals(config: Config, log: Log, planned: frozenset[str]) -> Iterator[str]:
    """What is sure to fail among the planned stages, a line each, each beginning with the setting it is about."""
    facts = _history_facts(log)
    routes = _planned_routes(config, planned)
    stopping = [f"{p.below('routes', name)}" for name in routes for p in config.routes[name].stopping(facts)]
    yield from stopping
    idle = list(_idle(config, facts, routes))
    if idle and len(idle) == len(routes) and not stopping:
        yield from idle
    if "ranking" in planned:
        yield from _untaught(config, log)
    if "evaluate" in planned and not len(_requests(config, log, TEST)):
        yield NOTHING_TO_FIND


def warnings(config: Config, log: Log, planned: frozenset[str]) -> list[str]:
    """Routes that will learn nothing from this log, a line each."""
    routes = _planned_routes(config, planned)
    found = list(_idle(config, _history_facts(log), routes))
    reading = [name for name in routes if config.routes[name].pairs_items or config.routes[name].reads_items]
    if "evaluate" in planned and reading:
        requests = _requests(config, log, TEST)
        if not requests.as_of.any():
            found.append(
                f"routes: {', '.join(reading)} answer from a user's history, but none of the {len(requests):,} "
                f"requests of the test window of split.kind: {config.split.kind} has one; use another split, or add a "
                "route that needs none, such as popular"
            )
    return found


def _planned_routes(config: Config, planned: frozenset[str]) -> list[str]:
    return [name for name in config.routes if f"recall.{name}" in planned]


def _idle(config: Config, facts: HistoryFacts, routes: Sequence[str]) -> Iterator[str]:
    for name in routes:
        for problem in config.routes[name].idle(facts):
            yield str(problem.below("routes", name))


def _untaught(config: Config, log: Log) -> Iterator[str]:
    """Windows without a request that the ranker could learn from."""
    if config.ranking is None or config.ranking.samples.kind != "candidates":
        return
    for window, name in ((RANK, "rank"), (VALID, "valid")):
        if len(_requests(config, log, window)):
            continue
        count = int((log.events.window == window).sum())
        yield (
            f"ranking: found {count:,} events in the {name} window of split.kind: {config.split.kind}, none of them a "
            "positive that its user has not had before; the ranker needs some; give the window more events, or set "
            "ranking: null"
        )


def _requests(config: Config, log: Log, window: int) -> Requests:
    histories = log.histories(config)
    per = "window" if config.ranking is None or window == TEST else config.ranking.samples.per
    return window_requests(log.events, histories, window, per=per, withheld=withheld_length(config))


def _history_facts(log: Log) -> HistoryFacts:
    """What the users of the recall window have, the most of any."""
    histories = log.fitted_on((RECALL,))
    owner = np.repeat(np.arange(len(histories)), histories.counts)
    return HistoryFacts(
        users=int((histories.counts > 0).sum()),
        most_events=int(histories.counts.max(initial=0)),
        most_items=_most_items(owner, histories.items),
        most_items_of_log=_most_items(log.events.user[log.events.positive], log.events.item[log.events.positive]),
        most_frequent=int(np.bincount(histories.items).max(initial=0)),
    )


def _most_items(owner: NDArray[np.integer], items: NDArray[np.integer]) -> int:
    """Different items of the user who has most."""
    pairs = np.unique(np.stack([owner, items]), axis=1)
    return int(np.bincount(pairs[0]).max(initial=0)) if pairs.size else 0
