"""`evaluate`: the bundle answers the requests of the test window; every reported number comes from it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.bundle import BUNDLE
from pipelines.inputs import Features, Log, labelled_rows, request_queries, task_positives, withheld_length
from pipelines.row_evaluation import evaluate_test_rows
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.sampling import last_of_pairs
from recsys.data.split import TEST, protocol
from recsys.data.synthetic.oracle import Oracle, oracle_files
from recsys.errors import DataError
from recsys.evaluation.funnel_metrics import evaluate_funnel, evaluate_rows
from recsys.evaluation.latency import route_latencies
from recsys.evaluation.lists import write_lists
from recsys.evaluation.report import write_report
from recsys.evaluation.results import RowMetrics
from recsys.evaluation.truth import Truth
from recsys.features.batch import Codes, QueryBatch
from recsys.features.history import Requests, row_requests, window_requests
from recsys.funnel.runtime import Funnel

__all__ = ["stage"]

_TASK_REQUESTS = 5000
"""Requests whose candidates the AUC of tasks is taken over: more would not change its third digit."""


def stage(config: Config) -> Stage:
    """The stage."""
    return Stage(
        "evaluate",
        partial(_run, config),
        config=_read(config),
        inputs=("ingest", "split", "features", "bundle"),
        modules=("pipelines.evaluate",),
        files=() if config.evaluation.oracle is None else oracle_files(Path(config.evaluation.oracle)),
        seed=config.seed,
    )


def _read(config: Config) -> dict[str, Any]:
    """The slice of the configuration that this stage reads."""
    ranking = config.ranking
    tasks = {} if ranking is None else {name: [task.label, task.at_least] for name, task in ranking.tasks.items()}
    own = {"evaluation": config.evaluation, "name": config.name, "split": config.split}
    return {**own, **({"tasks": tasks} if tasks else {})}


def _run(config: Config, context: StageContext) -> Metrics:
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    funnel = Funnel.load(context.inputs["bundle"] / BUNDLE)
    if config.data.rows_only:
        found = evaluate_test_rows(config, log, context.inputs["ingest"], funnel, context.folder)
        told = protocol(config.split, rows_only=True)
        return write_report(found, context.folder, title=config.name, protocol=told)
    histories = log.histories(config)

    def asked(requests: Requests) -> QueryBatch:
        batch = request_queries(requests, histories=histories, features=features, ingested=context.inputs["ingest"])
        known = {name: values for name, values in batch.features.items() if name.startswith("context.")}
        return funnel.query_batch(requests.user, batch.history, batch.lengths, known)

    requests = window_requests(log.events, histories, TEST, withheld=withheld_length(config))
    if not len(requests):
        raise DataError(
            "evaluate: every positive of the test window was seen before; nothing is left to find; "
            "where things are chosen again, set policy.exclude_seen: never"
        )
    rows = None
    if config.ranking is not None and config.ranking.samples.kind == "events":
        at = labelled_rows(log, (TEST,), context.inputs["ingest"])
        logits = funnel.score_rows(asked(row_requests(log.events, histories, at)), log.events.item[at][:, None])[:, 0]
        rows = evaluate_rows(log.events.positive[at], logits, log.events.user[at], ranker=funnel.parts.ranker)
    rows_of_tasks = {} if config.ranking is None else _tasks(config, log, context, funnel, requests, asked)
    rng = np.random.default_rng(context.seed)
    truth = None if config.evaluation.oracle is None else _truth(Path(config.evaluation.oracle), log)
    queries = asked(requests)
    latencies = route_latencies(funnel.parts.generator, queries, np.random.default_rng(context.seed))
    for name, milliseconds in latencies.items():
        context.log(f"latency_ms/{name}", milliseconds, 0)
    told = ", ".join(f"{name} {milliseconds:.2g}" for name, milliseconds in latencies.items())
    context.say(f"one request takes, in ms: {told}")
    evaluation = evaluate_funnel(
        funnel, requests, queries, config.evaluation, rng=rng, rows=rows, tasks=rows_of_tasks, truth=truth
    )
    write_lists(funnel, requests, evaluation, context.folder)
    return write_report(evaluation, context.folder, title=config.name, protocol=protocol(config.split))


def _tasks(
    config: Config,
    log: Log,
    context: StageContext,
    funnel: Funnel,
    requests: Requests,
    asked: Callable[[Requests], QueryBatch],
) -> dict[str, RowMetrics]:
    """How well each of several tasks is told: over labelled rows if it learned from such, else over candidates."""
    reached = task_positives(config, context.inputs["ingest"])
    if not reached:
        return {}
    events = log.events
    assert config.ranking is not None
    if config.ranking.samples.kind == "events":
        at = labelled_rows(log, (TEST,), context.inputs["ingest"])
        rows, codes = row_requests(events, log.histories(config), at), events.item[at][:, None]
        labels = {name: positive[at][:, None] for name, positive in reached.items()}
        return _task_rows(funnel, asked(rows), rows.user, codes, labels, "labelled rows of the test window")
    some = requests.take(np.arange(min(len(requests), _TASK_REQUESTS)))
    queries = asked(some)
    codes, found = funnel.rank(queries, 1).candidates.codes, {}
    for name, positive in reached.items():
        at = np.flatnonzero(positive & (events.window == TEST))
        found[name] = last_of_pairs(some.user, codes, events.user[at], events.item[at]) >= 0
    return _task_rows(funnel, queries, some.user, codes, found, "candidates of the test requests")


def _task_rows(
    funnel: Funnel, queries: QueryBatch, users: Codes, codes: Codes, labels: Mapping[str, NDArray[Any]], source: str
) -> dict[str, RowMetrics]:
    real, logits = codes >= 0, funnel.task_logits(queries, codes)
    groups = np.broadcast_to(users[:, None], codes.shape)[real]
    judged = partial(evaluate_rows, ranker=funnel.parts.ranker, source=source)
    return {
        name: judged(own[real], logits[..., task][real], groups, task=task)
        for task, (name, own) in enumerate(labels.items())
    }


def _truth(folder: Path, log: Log) -> Truth:
    """The oracle's vectors in the order of the catalogues."""
    oracle = Oracle.load(folder)
    users, items = oracle.user_codes(log.users.ids), oracle.item_codes(log.items.ids)
    return Truth(oracle.users[users], oracle.items[items])
