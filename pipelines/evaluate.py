"""`evaluate`: the bundle answers the requests of the test window; every reported number comes from it."""

from functools import partial
from pathlib import Path

import numpy as np

from pipelines.bundle import BUNDLE
from pipelines.inputs import Features, Log, request_queries, withheld_length
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.split import TEST, protocol
from recsys.data.synthetic.oracle import Oracle, oracle_files
from recsys.errors import DataError
from recsys.evaluation.funnel_metrics import evaluate_funnel, evaluate_rows
from recsys.evaluation.latency import route_latencies
from recsys.evaluation.lists import write_lists
from recsys.evaluation.report import write_report
from recsys.evaluation.truth import Truth
from recsys.features.batch import QueryBatch
from recsys.features.history import Requests, row_requests, window_requests
from recsys.funnel.runtime import Funnel

__all__ = ["stage"]


def stage(config: Config) -> Stage:
    """The stage."""
    return Stage(
        "evaluate",
        partial(_run, config),
        config={"evaluation": config.evaluation, "name": config.name, "split": config.split},
        inputs=("ingest", "split", "features", "bundle"),
        modules=("pipelines.evaluate",),
        files=() if config.evaluation.oracle is None else oracle_files(Path(config.evaluation.oracle)),
        seed=config.seed,
    )


def _run(config: Config, context: StageContext) -> Metrics:
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    funnel = Funnel.load(context.inputs["bundle"] / BUNDLE)
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
        at = np.flatnonzero(log.events.window == TEST)
        logits = funnel.score_rows(asked(row_requests(log.events, histories, at)), log.events.item[at][:, None])[:, 0]
        rows = evaluate_rows(log.events.positive[at], logits, log.events.user[at])
    rng = np.random.default_rng(context.seed)
    truth = None if config.evaluation.oracle is None else _truth(Path(config.evaluation.oracle), log)
    queries = asked(requests)
    latencies = route_latencies(funnel.parts.generator, queries, np.random.default_rng(context.seed))
    for name, milliseconds in latencies.items():
        context.log(f"latency_ms/{name}", milliseconds, 0)
    told = ", ".join(f"{name} {milliseconds:.2g}" for name, milliseconds in latencies.items())
    context.say(f"one request takes, in ms: {told}")
    evaluation = evaluate_funnel(funnel, requests, queries, config.evaluation, rng=rng, rows=rows, truth=truth)
    write_lists(funnel, requests, evaluation, context.folder)
    return write_report(evaluation, context.folder, title=config.name, protocol=protocol(config.split))


def _truth(folder: Path, log: Log) -> Truth:
    """The oracle's vectors in the order of the catalogues."""
    oracle = Oracle.load(folder)
    users, items = oracle.user_codes(log.users.ids), oracle.item_codes(log.items.ids)
    return Truth(oracle.users[users], oracle.items[items])
