"""`candidates`: fusion weights, and the labelled items the ranker trains on and is validated on."""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.inputs import (
    Features,
    Log,
    labelled_rows,
    lists,
    request_queries,
    task_positives,
    withheld_length,
)
from pipelines.stage import Metrics, Stage, StageContext
from recsys.bundle.format import FusionSpec, Policy
from recsys.config import Config
from recsys.data.imbalance import balancing_weight, gained_log_odds, over_sampled, under_sampled
from recsys.data.sampling import (
    Groups,
    last_of_pairs,
    popularity_chances,
    sample_groups,
    sample_weights,
    thinned,
)
from recsys.data.split import RANK, RECALL, VALID
from recsys.data.tables import event_columns
from recsys.errors import DataError
from recsys.features.arrays import load_arrays, save_arrays
from recsys.features.batch import Codes, QueryBatch
from recsys.features.history import Histories, Requests, list_requests, window_requests
from recsys.funnel.candidates import CandidateGenerator, withheld
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_features
from recsys.metrics.ranking import relevance
from recsys.ranking.configs import WeightsConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.fusion import Candidates, fit_weights
from recsys.retrieval.registry import load_retriever

__all__ = ["GroupedRequests", "load_fusion", "load_routes", "stage"]

_FITTED_ON = 8192
"""Requests that fusion weights are fitted on: a mean over more would not change its third digit."""

_TOGETHER = 1024
"""Requests described together: a route may score the whole catalogue for each of them."""

_DAY = 24 * 3600 * 1e6
"""In microseconds."""
_LONGEST = 2000
"""Rows of a list: all lists are padded to the longest."""


def stage(config: Config) -> Stage:
    """The stage."""
    ranking = config.ranking
    tasks = {} if ranking is None else {name: [task.label, task.at_least] for name, task in ranking.tasks.items()}
    samples = {"samples": None if ranking is None else ranking.samples, **({"tasks": tasks} if tasks else {})}
    return Stage(
        "candidates",
        partial(_run, config),
        config={"fusion": config.fusion, "policy": config.policy, "ranking": samples},
        inputs=("ingest", "split", "features", *(f"recall.{name}" for name in config.routes)),
        modules=("pipelines.candidates",),
        seed=config.seed,
    )


@dataclass(frozen=True, slots=True)
class GroupedRequests:
    """Requests with a group of labelled items each, as this stage hands them to the ranker.

    Attributes:
        requests: Q requests.
        groups: their items.
        route: `route.*` arrays `(Q, G)`; none for labelled rows of the log.
        tasks: by task, `(Q, G)` float32 labels; none where there is one task, whose labels are those of the groups.
        weight: `(Q, G)` how much each counts; `None`: all count the same.
        offset: `(Q, G)` by how much the log-odds of a positive among the samples are above those in the world; `None`:
            they are the same, or nobody asked.
    """

    requests: Requests
    groups: Groups
    route: dict[str, np.ndarray[Any, Any]]
    tasks: dict[str, np.ndarray[Any, Any]]
    weight: NDArray[np.float32] | None = None
    offset: NDArray[np.float32] | None = None

    @property
    def labels(self) -> NDArray[np.float32]:
        """What the ranker learns: `(Q, G)`, or `(Q, G, T)` of several tasks."""
        return np.stack(list(self.tasks.values()), axis=-1) if self.tasks else self.groups.labels

    def save(self, folder: Path) -> None:
        """Writes everything into a folder, which is made."""
        self.requests.save(folder / "requests")
        groups = {"codes": self.groups.codes, "labels": self.groups.labels}
        drawn = {} if self.groups.from_catalogue is None else {"from_catalogue": self.groups.from_catalogue}
        save_arrays(folder / "groups", {**groups, **drawn})
        save_arrays(folder / "route", self.route)
        save_arrays(folder / "tasks", self.tasks)
        given = {"weight": self.weight, "offset": self.offset}
        save_arrays(folder / "given", {name: values for name, values in given.items() if values is not None})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote."""
        groups = Groups(**load_arrays(folder / "groups"))
        route, tasks = load_arrays(folder / "route"), load_arrays(folder / "tasks")
        return cls(Requests.load(folder / "requests"), groups, route, tasks, **load_arrays(folder / "given"))


def load_routes(config: Config, context: StageContext, phase: str, features: Features) -> dict[str, Retriever]:
    """The retrievers of a phase by route name."""
    return {
        name: load_retriever(context.inputs[f"{phase}.{name}"] / "retriever", features.item) for name in config.routes
    }


def load_fusion(folder: Path) -> FusionSpec:
    """The settled fusion that this stage wrote."""
    return FusionSpec.model_validate_json((folder / "fusion.json").read_bytes())


def _run(config: Config, context: StageContext) -> Metrics:
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    work = _Work(config, context, log, features, log.histories(config))
    fusion = work.fit_fusion()
    (context.folder / "fusion.json").write_text(fusion.model_dump_json(indent=1) + "\n", encoding="utf-8")
    weights = {f"weight/{name}": weight for name, weight in fusion.weights.items()}
    if config.ranking is None:
        return weights
    train, valid = work.rows() if config.ranking.samples.kind == "events" else work.groups(fusion)
    train.save(context.folder / "train")
    valid.save(context.folder / "valid")
    sizes = {"train/requests": len(train.requests), "valid/requests": len(valid.requests)}
    positives = {
        "train/positives": float(train.groups.labels.sum()),
        "valid/positives": float(valid.groups.labels.sum()),
    }
    return {**weights, **sizes, **positives}


class _Work:
    """The stage's inputs, and the steps that share them."""

    def __init__(
        self, config: Config, context: StageContext, log: Log, features: Features, histories: Histories
    ) -> None:
        self.config = config
        self.context = context
        self.log = log
        self.features = features
        self.histories = histories
        self.routes = load_routes(config, context, "recall", features)
        self.policy = Policy.model_validate(config.policy.model_dump())

    def requests(self, window: int) -> Requests:
        per = "window" if self.config.ranking is None else self.config.ranking.samples.per
        withhold = withheld_length(self.config)
        return window_requests(self.log.events, self.histories, window, per=per, withheld=withhold)

    def queries(self, requests: Requests) -> QueryBatch:
        ingested = self.context.inputs["ingest"]
        return request_queries(requests, histories=self.histories, features=self.features, ingested=ingested)

    def generator(self, weights: dict[str, float]) -> CandidateGenerator:
        return CandidateGenerator(self.routes, self.config.fusion.settled(weights), self.policy)

    def fit_fusion(self) -> FusionSpec:
        equal = dict.fromkeys(self.routes, 1.0)
        given = self.config.fusion.weights
        if isinstance(given, dict):
            return self.generator(given).fusion
        if given == "equal" or len(self.routes) <= 1:
            return self.generator(equal).fusion
        requests, fusion = self.requests(RANK), self.config.fusion.settled(equal)
        if len(requests) > _FITTED_ON:
            rng = np.random.default_rng(self.context.seed)
            requests = requests.take(np.sort(rng.choice(len(requests), _FITTED_ON, replace=False)))
        lists = self.generator(equal).lists(self.queries(requests))
        return self.generator(fit_weights(lists, requests.offsets, requests.positives, fusion)).fusion

    def groups(self, fusion: FusionSpec) -> tuple[GroupedRequests, GroupedRequests]:
        """Sampled candidates of the rank window; all candidates of the valid window."""
        return self._grouped(RANK, fusion, sampled=True), self._grouped(VALID, fusion, sampled=False)

    def _grouped(self, window: int, fusion: FusionSpec, *, sampled: bool) -> GroupedRequests:
        requests = self.requests(window)
        queries = self.queries(requests)
        candidates = self.generator(fusion.weights).generate(queries)
        labels = relevance(candidates.codes, requests.offsets, requests.positives).astype(np.float32)
        if not sampled:
            every = Groups(candidates.codes, labels)
            return self._labelled(window, requests, every, self._route(queries, None, candidates))
        # A group without a positive teaches nothing about order.
        kept = np.flatnonzero(labels.sum(axis=1) > 0)
        requests, queries = requests.take(kept), queries.take(kept)
        candidates, labels = candidates.take(kept), labels[kept]
        groups = self._sample(requests, queries, candidates, labels)
        grouped = self._labelled(window, requests, groups, self._route(queries, groups.codes, candidates))
        if self.config.ranking is not None and self.config.ranking.samples.logq:
            assert groups.chance is not None
            grouped = replace(grouped, offset=np.where(groups.codes >= 0, -np.log(groups.chance), np.float32(0)))
        return self._balanced(grouped)

    def _labelled(
        self, window: int, requests: Requests, groups: Groups, route: dict[str, np.ndarray[Any, Any]]
    ) -> GroupedRequests:
        """With what the user's events of the window with each item say: the labels of every task, and the weight."""

        def where(said: NDArray[np.bool_]) -> NDArray[np.int64]:
            events, at = self.log.events, np.flatnonzero(said & (self.log.events.window == window))
            pairs = last_of_pairs(requests.user, groups.codes, events.user[at], events.item[at])
            return np.where(pairs >= 0, at[pairs], -1) if len(at) else pairs

        positives = task_positives(self.config, self.context.inputs["ingest"])
        tasks = {name: (where(reached) >= 0).astype(np.float32) for name, reached in positives.items()}
        weight = self._weight(requests, groups, where(self.log.events.positive))
        return GroupedRequests(requests, groups, route, tasks, weight)

    def _balanced(self, grouped: GroupedRequests) -> GroupedRequests:
        """Positives weigh more, if they are to."""
        assert self.config.ranking is not None
        samples = self.config.ranking.samples
        if samples.imbalance != "class_weight" or samples.negatives_per_positive is None:
            return grouped
        groups = grouped.groups
        positive = groups.labels > 0
        factor = balancing_weight(positive[groups.codes >= 0], samples.negatives_per_positive)
        weight = np.ones(positive.shape, np.float32) if grouped.weight is None else grouped.weight
        offset = np.zeros(positive.shape, np.float32) if grouped.offset is None else grouped.offset
        heavier = np.where(positive, weight * np.float32(factor), weight)
        return replace(grouped, weight=heavier, offset=offset + np.float32(math.log(factor)))

    def _weight(self, requests: Requests, groups: Groups, members: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """How much each item of a group counts, of `(Q, G)` the event that it comes from, −1 if from none."""
        assert self.config.ranking is not None
        weights, events = self.config.ranking.samples.weights, self.log.events
        if weights == WeightsConfig():
            return None
        newest = events.time[events.window <= VALID].max()
        time = events.time[np.where(members >= 0, members, requests.event[:, None])]
        wanted = [name for name in (weights.value, "propensity") if name is not None]
        log, positive = event_columns(self.context.inputs["ingest"], *wanted), groups.labels > 0
        value = None if weights.value is None else log[weights.value].to_numpy()[members]
        if value is not None and (value[positive] < 0).any():
            raise DataError(
                f"ranking.samples.weights.value: label {weights.value} of a positive is {value[positive].min():g}, "
                "expected no positive to be below 0"
            )
        # A positive whose propensity nobody wrote down counts as one that was surely seen.
        seen = np.nan_to_num(log["propensity"].to_numpy()[members], nan=1.0) if weights.propensity else None
        return sample_weights(
            positive,
            (newest - time) / _DAY,
            half_life=weights.half_life_days,
            value=value,
            propensity=seen,
            least_propensity=weights.least_propensity,
        )

    def _sample(
        self, requests: Requests, queries: QueryBatch, candidates: Candidates, labels: np.ndarray[Any, Any]
    ) -> Groups:
        assert self.config.ranking is not None
        samples, rng = self.config.ranking.samples, np.random.default_rng(self.context.seed)
        met = np.bincount(self.log.fitted_on((RECALL,)).items, minlength=len(self.log.items))
        groups = sample_groups(
            candidates.codes,
            labels,
            np.concatenate([withheld(queries, self.policy), requests.padded_positives()], axis=1),
            candidate_negatives=samples.candidate_negatives,
            uniform_negatives=samples.uniform_negatives,
            n_items=len(self.log.items),
            rng=rng,
            popularity_negatives=samples.popularity_negatives,
            popularity=popularity_chances(met, samples.popularity_power) if samples.popularity_negatives else None,
        )
        if samples.negatives_per_positive is None or samples.imbalance != "under_sample":
            return groups
        return thinned(groups, samples.negatives_per_positive, rng)

    def _route(
        self, queries: QueryBatch, codes: Codes | None, candidates: Candidates
    ) -> dict[str, np.ndarray[Any, Any]]:
        match, parts = MatchFeatures(self.features.item), []
        for start in range(0, max(len(queries), 1), _TOGETHER):
            rows = np.arange(start, min(start + _TOGETHER, len(queries)))
            some = candidates.take(rows)
            items = some.codes if codes is None else codes[rows]
            parts.append(route_features(self.routes, queries.take(rows), items, some, match=match))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rows(self) -> tuple[GroupedRequests, GroupedRequests]:
        """The labelled rows of the training windows and of the valid window: those of a list are one request."""
        known = labelled_rows(self.log, (RECALL, RANK), self.context.inputs["ingest"])
        at = known[self._resampled(self.log.events.positive[known])]
        gained = gained_log_odds(self.log.events.positive[known], self.log.events.positive[at])
        train = self._rows(at)
        if gained:
            train = replace(train, offset=np.full(train.groups.codes.shape, gained, np.float32))
        return self._balanced(train), self._rows(labelled_rows(self.log, (VALID,), self.context.inputs["ingest"]))

    def _resampled(self, positive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Positions of the rows that teach, some of them more than once."""
        assert self.config.ranking is not None
        samples, rng = self.config.ranking.samples, np.random.default_rng(self.context.seed)
        how = {"under_sample": under_sampled, "over_sample": over_sampled}.get(samples.imbalance)
        if samples.negatives_per_positive is None or how is None:
            return np.arange(len(positive))
        return how(positive, samples.negatives_per_positive, rng)

    def _rows(self, at: NDArray[np.int64]) -> GroupedRequests:
        """Rows of the log at these positions, ascending, as requests."""
        events, ingested = self.log.events, self.context.inputs["ingest"]
        requests, members = list_requests(events, self.histories, at, lists(ingested, at))
        if members.shape[1] > _LONGEST:
            longest = int(np.argmax((members >= 0).sum(axis=1)))
            owner = self.log.users.decode(requests.user[[longest]])[0].as_py() if len(self.log.users) else None
            raise DataError(
                f"candidates: a list{'' if owner is None else f' of user {owner!r}'} has "
                f"{int((members[longest] >= 0).sum()):,} rows, expected at most {_LONGEST:,}; "
                "check that data.interactions.request_id tells one list from another"
            )

        def labels(positive: NDArray[np.bool_]) -> NDArray[np.float32]:
            return ((members >= 0) & positive[members]).astype(np.float32)

        codes = np.where(members >= 0, events.item[members], np.int32(-1))
        tasks = {name: labels(reached) for name, reached in task_positives(self.config, ingested).items()}
        groups = Groups(codes, labels(events.positive))
        return GroupedRequests(requests, groups, {}, tasks, self._weight(requests, groups, members))
