"""Every stage of a configuration: what it depends on, and which module runs it.

Kept apart from the modules that run the stages, which need numpy, pandas and FAISS: asking what is up to date does not.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.phases import Phase, item_kinds, served
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.config import EntityConfig, TableConfig
from recsys.errors import DataError
from recsys.ranking.configs import RankingConfig, TeacherConfig
from recsys.ranking.registry import ranker_modules
from recsys.recall.registry import ROUTES

__all__ = ["route_stage", "stages_for"]

_Run = Callable[[StageContext], Metrics | None]


def stages_for(config: Config) -> list[Stage]:
    """The stages of a configuration, in an order in which they can run."""
    refit = [route_stage(config, name, "refit") for name in config.routes] if config.refit != "none" else []
    return [
        _ingest(config),
        _split(config),
        _features(config),
        *(route_stage(config, name, "recall") for name in config.routes),
        _candidates(config),
        *([_ranking(config, config.ranking)] if config.ranking is not None else []),
        *refit,
        _bundle(config),
        _evaluate(config),
    ]


def route_stage(config: Config, name: str, phase: Phase) -> Stage:
    """The stage that fits a route: `recall.<route>` or `refit.<route>`."""
    route = config.routes[name]
    data: dict[str, object] = {"order": config.data.order}
    if route.reads_items:
        # How a column is read, the table alone does not tell: text and categories look the same.
        data["items"] = {"columns": item_kinds(config)}
    return Stage(
        f"{phase}.{name}",
        _when_run("recall", config, route, phase),
        config={"routes": {name: route}, "data": data},
        inputs=("split", "features", *(("ingest",) if route.reads_items else ())),
        modules=("pipelines.recall", "recsys.release.export", ROUTES[route.kind]),
        files=route.files(),
        seed=config.seed,
    )


def _when_run(module: str, *arguments: object) -> _Run:
    """`run` of a module of this package, which is imported no sooner than it is called."""

    def run(context: StageContext) -> Metrics | None:
        found: Metrics | None = importlib.import_module(f"pipelines.{module}").run(*arguments, context)
        return found

    return run


def _ingest(config: Config) -> Stage:
    return Stage(
        "ingest",
        _when_run("ingest", config),
        config={"data": config.data},
        modules=("pipelines.ingest",),
        files=tuple(path for name in ("interactions", "users", "items") for path in _files(config, name)),
    )


def _files(config: Config, name: str) -> list[Path]:
    table: TableConfig | None = getattr(config.data, name)
    if table is None or (isinstance(table, EntityConfig) and table.source is not None):
        return []
    if Path(table.path).is_file():
        return [Path(table.path)]
    # A folder, a pattern, or a file a window: which of them are data, the readers know.
    from recsys.data.windows import window_files

    try:
        return [path for path, _ in window_files(table, name)]
    except DataError:
        # Running the stage says what is missing; asking for its status must not fail.
        return [Path(table.path)]


def _split(config: Config) -> Stage:
    return Stage(
        "split",
        _when_run("split", config),
        config={"split": config.split, "data": {"positive": config.data.positive}},
        inputs=("ingest",),
        modules=("pipelines.split",),
        seed=config.seed,
    )


def _features(config: Config) -> Stage:
    return Stage(
        "features",
        _when_run("features", config),
        config={"features": config.features, "data": config.data},
        inputs=("ingest", "split"),
        modules=("pipelines.features",),
    )


def _candidates(config: Config) -> Stage:
    samples = {"samples": None if config.ranking is None else config.ranking.samples, **_tasks(config)}
    return Stage(
        "candidates",
        _when_run("candidates", config),
        config={"fusion": config.fusion, "policy": config.policy, "ranking": samples},
        inputs=("ingest", "split", "features", *(f"recall.{name}" for name in config.routes)),
        modules=("pipelines.candidates",),
        seed=config.seed,
    )


def _tasks(config: Config) -> dict[str, dict[str, list[object]]]:
    """What the ranker's tasks read of the log; nothing where there is one."""
    tasks = {} if config.ranking is None else config.ranking.tasks
    return {"tasks": {name: [task.label, task.at_least] for name, task in tasks.items()}} if tasks else {}


def _ranking(config: Config, ranking: RankingConfig) -> Stage:
    return Stage(
        "ranking",
        _when_run("ranking", config, ranking),
        config={"ranking": ranking, "refit": config.refit, "features": {"history": config.features.history}},
        inputs=("ingest", "split", "features", "candidates"),
        modules=(
            "pipelines.ranking",
            "recsys.release.export",
            "recsys.training.mining",
            "recsys.training.oversampling",
            "recsys.training.stream",
            "recsys.training.trainer",
            *ranker_modules(ranking.model),
            *_teaching(ranking.teacher),
        ),
        seed=config.seed,
    )


def _teaching(teacher: TeacherConfig | None) -> tuple[str, ...]:
    """The modules that a teacher needs."""
    return () if teacher is None else ("recsys.ranking.distilled", *ranker_modules(teacher.model))


def _bundle(config: Config) -> Stage:
    routes = tuple(f"{served(config)}.{name}" for name in config.routes)
    return Stage(
        "bundle",
        _when_run("bundle", config),
        config=config.model_dump(mode="json", exclude={"workspace", "evaluation", "tracking"}),
        inputs=("ingest", "split", "features", *routes, "candidates", *(("ranking",) if config.ranking else ())),
        modules=("pipelines.bundle",),
    )


def _evaluate(config: Config) -> Stage:
    own: dict[str, Any] = {"evaluation": config.evaluation, "name": config.name, "split": config.split}
    return Stage(
        "evaluate",
        _when_run("evaluate", config),
        config={**own, **_tasks(config)},
        inputs=("ingest", "split", "features", "bundle"),
        modules=("pipelines.evaluate",),
        files=_truth(config),
        seed=config.seed,
    )


def _truth(config: Config) -> tuple[Path, ...]:
    """The files of a simulated world's true preferences, where the evaluation reads them."""
    if config.evaluation.oracle is None:
        return ()
    from recsys.data.synthetic.oracle import oracle_files

    return oracle_files(Path(config.evaluation.oracle))
