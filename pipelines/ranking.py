"""`ranking`: the ranker, trained on the rank window, stopped by the valid window, exported behind the parity gate."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.candidates import GroupedRequests
from pipelines.inputs import Features, Log, request_queries
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.errors import DataError
from recsys.features.assemble import Assembler
from recsys.features.batch import InputSpec
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_fields
from recsys.metrics.classification import auc
from recsys.metrics.ranking import ndcg_at_k, relevance
from recsys.ranking.configs import RankingConfig
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import save_scorer

if TYPE_CHECKING:
    from torch import nn

    from recsys.training.batches import Samples

__all__ = ["model_inputs", "stage"]


def stage(config: Config) -> Stage:
    """The stage."""
    assert config.ranking is not None
    return Stage(
        "ranking",
        partial(_run, config, config.ranking),
        config={"ranking": config.ranking, "refit": config.refit, "features": {"history": config.features.history}},
        inputs=("ingest", "split", "features", "candidates"),
        modules=("pipelines.ranking", "recsys.release.export", "recsys.training.trainer", _module(config.ranking)),
        seed=config.seed,
    )


def _module(ranking: RankingConfig) -> str:
    from recsys.ranking.registry import RANKERS

    return RANKERS[ranking.model.kind]


def model_inputs(config: Config, features: Features) -> InputSpec:
    """Every input a ranker of this configuration may read."""
    assert config.ranking is not None
    encoder = features.encoder
    # Labelled rows of the log come without candidates: nothing any route could have said of them is known.
    by_candidate = config.ranking.samples.kind == "candidates"
    route = route_fields(config.routes, MatchFeatures(features.item)) if by_candidate else ()
    request = (*encoder.fields("user"), *encoder.fields("context"), *encoder.history_fields())
    return InputSpec((*request, *encoder.fields("item"), *route), config.features.history.length)


def _run(config: Config, ranking: RankingConfig, context: StageContext) -> Metrics:
    from recsys.losses.registry import LOSSES
    from recsys.ranking.base import select_inputs
    from recsys.ranking.registry import build_ranker
    from recsys.release.export import export_onnx
    from recsys.training.trainer import seeded, train

    features = Features.load(context.inputs["features"])
    spec = select_inputs(model_inputs(config, features), ranking.model)
    fitting, _ = _samples(config, context, features, spec, "train")
    validation, judged = _samples(config, context, features, spec, "valid")
    with seeded(context.seed):
        model = build_ranker(ranking.model, spec)
    model.fit_inputs(fitting)
    name, judge = _judge(ranking, judged)
    result = train(
        model,
        LOSSES[ranking.loss],
        fitting.batches(ranking.training.batch_size),
        ranking.training,
        seed=context.seed,
        log=context.log,
        validate=(name, partial(_figure, judge, validation)),
    )
    path = context.scratch / "model.onnx"
    export_onnx(model, spec.fields, spec.history_length, path, output="logits")
    folder = context.folder / "scorer"
    folder.mkdir()
    save_scorer(OnnxScorer(path), folder)
    text = json.dumps(asdict(spec), ensure_ascii=False, indent=1)
    (context.folder / "inputs.json").write_text(text + "\n", encoding="utf-8")
    return {f"valid/{name}": result.best, "best_epoch": result.best_epoch, "epochs": result.epochs}
