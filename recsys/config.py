"""The root configuration: one YAML file describes one pipeline."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PositiveInt, model_validator

from recsys.data.config import ColumnKind, DataConfig, TableSide
from recsys.data.split import GivenSplit, GlobalTimeSplit, LeaveLastOutSplit, SplitConfig, check_order
from recsys.errors import ProtocolError
from recsys.evaluation.config import EvaluationConfig
from recsys.features.config import FeaturesConfig, Transform, chosen_features
from recsys.losses.config import BCELoss, LossConfig, loss_terms, needing_groups
from recsys.problems import Problem, Problems, dotted, unknown
from recsys.ranking.configs import MULTI_TASK, TREES, RankerConfig, RankingConfig, WideDeepConfig
from recsys.ranking.settings.samples import SYNTHETIC
from recsys.ranking.settings.sequences import SequenceSettings
from recsys.recall.configs import RouteConfig
from recsys.recall.settings.base import LogFacts
from recsys.retrieval.config import FusionConfig
from recsys.settings import Settings
from recsys.yaml_text import KeyPath

__all__ = ["Config", "EvaluationConfig", "PolicyConfig", "TrackingConfig"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]


class PolicyConfig(Settings):
    """Rules of the funnel, the same in evaluation and in service."""

    exclude_seen: Literal["never", "always", "recent"] = "always"
    """Whether items of the own history are withheld: groceries are bought again, films are not."""
    recent: PositiveInt = 50
    """With `recent`: how many of the last items count as seen."""


class TrackingConfig(Settings):
    """Where runs are recorded."""

    kind: Literal["mlflow", "none"] = "mlflow"
    """`none` records nothing."""
    uri: str | None = None
    """`null`: SQLite inside the workspace."""
    experiment: str | None = None
    """`null`: the name of the pipeline."""


class Config(Settings):
    """A pipeline, from log to bundle."""

    name: Name
    """Of the pipeline; also of the experiment and the registered model."""
    workspace: str
    """Folder of artifacts, runs and bundles, relative to where the command runs."""
    seed: int = 42
    """Of all randomness: same seed, same machine, same bytes."""
    data: DataConfig
    """Where the tables are and which column plays which part."""
    split: SplitConfig
    """How the log is cut into windows: recall, rank, valid, test."""
    features: FeaturesConfig = FeaturesConfig()
    """How columns become model inputs."""
    routes: dict[Name, RouteConfig]
    """What finds candidates, under names of your choice; `{}` where the log has no users and items."""
    fusion: FusionConfig = FusionConfig()
    """How the lists of the routes become one."""
    ranking: RankingConfig | None = None
    """`null`: the fused list is the answer."""
    policy: PolicyConfig = PolicyConfig()
    """Rules of the answer."""
    refit: Literal["none", "recall", "all"] = "recall"
    """What is fitted again on everything before the test window once settings are chosen."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is reported."""
    tracking: TrackingConfig = TrackingConfig()
    """Where runs are recorded."""

    @model_validator(mode="before")
    @classmethod
    def _learn_from_rows(cls, data: object) -> object:
        """Without users and items there are neither candidates nor histories to learn from: other defaults hold."""
        return _with_defaults_of_rows(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        problems = [problem for check in _CHECKS for problem in check(self)]
        if problems:
            raise Problems(problems)
        return self


_DEFAULTS_OF_ROWS: tuple[tuple[tuple[str, ...], object], ...] = (
    (("ranking", "samples", "kind"), "events"),
    (("features", "history", "fields"), []),
)
"""Of a log without users and items."""


def _with_defaults_of_rows(data: dict[str, Any]) -> dict[str, Any]:
    tables = data.get("data")
    log = tables.get("interactions") if isinstance(tables, dict) else None
    if not isinstance(log, dict) or log.get("item_id", "") is not None:
        return data
    for keys, value in _DEFAULTS_OF_ROWS:
        # Without a ranker there is nothing to say of its samples.
        if keys[0] != "ranking" or data.get("ranking") is not None:
            data = _with_default(data, keys, value)
    return data


def _with_default(data: dict[str, Any], keys: tuple[str, ...], value: object) -> dict[str, Any]:
    """The mapping with a value at this path, unless it has one, or something on the way is no mapping."""
    first, *rest = keys
    if not rest:
        return {first: value} | data
    inner = data.get(first, {})
    return {**data, first: _with_default(inner, tuple(rest), value)} if isinstance(inner, dict) else data


def _check_roles(config: Config) -> Iterator[Problem]:
    log = config.data.interactions
    taken: dict[str, str] = {}
    for role in ("user_id", "item_id", "timestamp", "request_id", "exposed", "position", "propensity", "window"):
        column = getattr(log, role)
        if column is not None and column in taken:
            at = ("data", "interactions", role)
            yield Problem(f"found {column!r}, which is the {taken[column]} already; expected another column", at=at)
        elif column is not None:
            taken[column] = role
    for position, label in enumerate(log.labels):
        if label in taken:
            what = f"found {label!r}, which is the {taken[label]} already; expected another column"
            yield Problem(what, at=("data", "interactions", "labels", position))


def _check_split(config: Config) -> Iterator[Problem]:
    try:
        check_order(config.split, config.data.order)
    except ProtocolError as error:
        yield Problem(str(error).removeprefix("split.kind: "), at=("split", "kind"), protocol=True)
        return
    if isinstance(config.split, GlobalTimeSplit) and config.data.interactions.timestamp is None:
        yield Problem(
            "found global_time, but data.interactions.timestamp is null: there is no moment to cut at; "
            "name the column with the time, or use per_user",
            at=("split", "kind"),
            protocol=True,
        )
    log = config.data.interactions
    if isinstance(config.split, GivenSplit) and log.window is None and log.files is None:
        yield Problem(
            "found given, but data.interactions.window is null; name the column that holds recall, rank, valid or "
            "test, or give data.interactions.files: {train: …, valid: …, test: …}",
            at=("split", "kind"),
        )
    if log.files is not None and not isinstance(config.split, GivenSplit):
        yield Problem(
            f"found {config.split.kind}, but data.interactions.files say which rows are train, valid and test; "
            "expected given, or path instead of files",
            at=("split", "kind"),
        )
    if _share(config, "test") == 0:
        yield Problem("found 0, expected a share above 0: nothing could be reported", at=("split", "test"))


def _share(config: Config, window: Literal["rank", "valid", "test"]) -> float:
    """The share of a window; leave-last-out has all of them, and what is given the log will tell."""
    return 1.0 if isinstance(config.split, LeaveLastOutSplit | GivenSplit) else float(getattr(config.split, window))


_ROWS_SPLITS = ("random", "global_time", "given")
"""Ways to cut that need no users."""


def _check_rows_only(config: Config) -> Iterator[Problem]:
    """A log without users and items: what it needs, and what would have nothing to read."""
    why = "data.interactions.user_id and item_id are null"
    if not config.data.rows_only:
        if not config.routes:
            yield Problem(
                "found no route, expected at least one, such as popular: {kind: popular}; a pipeline without routes "
                "scores rows, of a log whose user_id and item_id are null",
                at=("routes",),
            )
        return
    if config.routes:
        found = ", ".join(config.routes)
        yield Problem(f"found {found}, but {why}, so there is nothing to recommend; expected {{}}", at=("routes",))
    if config.ranking is None:
        yield Problem(f"found null, but {why}: a ranker is all there is to train; name one", at=("ranking",))
    elif config.ranking.samples.kind != "events":
        found = config.ranking.samples.kind
        yield Problem(
            f"found {found}, but {why}; expected events: the rows themselves", at=("ranking", "samples", "kind")
        )
    if config.split.kind not in _ROWS_SPLITS:
        yield Problem(f"found {config.split.kind}, but {why}; expected {', '.join(_ROWS_SPLITS)}", at=("split", "kind"))
    for side in ("user", "item"):
        if getattr(config.features, side):
            yield Problem(f"found inputs, but {why}; name columns under features.context", at=("features", side))


def _check_routes(config: Config) -> Iterator[Problem]:
    facts = LogFacts(config.data.order != "none", _timeless(config), _inputs(config), _columns(config))
    for name, route in config.routes.items():
        for problem in route.problems(facts):
            yield problem.below("routes", name)


def _timeless(config: Config) -> str:
    """Why no event is older than another; empty where the log has time."""
    if config.data.order == "none":
        return "data.order is none"
    return "data.interactions.timestamp is null" if config.data.interactions.timestamp is None else ""


def _check_fusion(config: Config) -> Iterator[Problem]:
    weights = config.fusion.weights
    if weights == "fitted" and len(config.routes) > 1 and _share(config, "rank") == 0:
        yield Problem(
            "found fitted, but split.rank is 0: no events to fit them on; expected equal, or a weight for every route",
            at=("fusion", "weights"),
        )
    if isinstance(weights, dict):
        yield from _check_weights(weights, config.routes)


def _check_weights(weights: Mapping[str, float], routes: Mapping[str, RouteConfig]) -> Iterator[Problem]:
    for name in weights:
        if name not in routes:
            yield Problem(unknown(name, routes, noun="route"), at=("fusion", "weights", name))
    absent = [name for name in routes if name not in weights]
    if absent:
        yield Problem(f"no weight for {', '.join(absent)}; expected one for every route", at=("fusion", "weights"))
    elif not any(weights.values()):
        yield Problem("found only zeros, expected a weight above 0", at=("fusion", "weights"))


def _check_depths(config: Config) -> Iterator[Problem]:
    """A metric at k of a list that cannot be k long would be reported too low."""
    longest = max(config.evaluation.ks, default=0)
    for setting in ("per_route", "candidates"):
        depth = getattr(config.fusion, setting)
        if depth < longest:
            yield Problem(
                f"found {depth}, expected at least {longest}, the largest of evaluation.ks; "
                f"raise it, or report only k up to {depth}",
                at=("fusion", setting),
            )


_KINDS: dict[str, tuple[ColumnKind, ...]] = {
    "categorical": ("categorical", "numeric"),
    "hashed": ("categorical", "numeric"),
    "multi_categorical": ("multi_categorical",),
    "standard": ("numeric",),
    "min_max": ("numeric",),
    "log": ("numeric",),
    "quantile": ("numeric",),
    "time": ("timestamp",),
}
"""Which column kinds a transform reads."""


def _columns(config: Config) -> dict[TableSide, dict[str, ColumnKind]]:
    """The columns a feature may name, with their kinds, by side."""
    if config.data.rows_only:
        return {"user": {}, "item": {}, "context": config.data.column_kinds("context")}
    ids: dict[TableSide, dict[str, ColumnKind]] = {
        "user": {"user_id": "categorical"},
        "item": {"item_id": "categorical"},
        "context": {},
    }
    return {side: own | config.data.column_kinds(side) for side, own in ids.items()}


def _inputs(config: Config) -> dict[TableSide, list[str]]:
    """The model inputs of each side."""
    return {side: list(transforms) for side, transforms in _transforms(config).items()}


def _transforms(config: Config) -> dict[TableSide, dict[str, Transform]]:
    """The model inputs of each side with their transforms; without items, the columns of a row are a candidate's."""
    chosen = {side: chosen_features(config.features, config.data, side) for side in get_args(TableSide)}
    return {"user": {}, "item": chosen["context"], "context": {}} if config.data.rows_only else chosen


def _check_features(config: Config) -> Iterator[Problem]:
    where = {"user": "data.users.columns", "item": "data.items.columns", "context": "data.interactions.context"}
    for side, columns in _columns(config).items():
        for name, transform in (getattr(config.features, side) or {}).items():
            column = transform.column or name
            if column not in columns:
                what = unknown(column, columns, noun=f"column of {where[side]}")
                at = ("features", side, name) if transform.column is None else ("features", side, name, "column")
                yield Problem(what, at=at)
            elif columns[column] not in _KINDS[transform.kind]:
                yield Problem(
                    f"found {transform.kind}, but the column is {columns[column]}; expected a {where[side]} of kind "
                    f"{' or '.join(_KINDS[transform.kind])}",
                    at=("features", side, name, "kind"),
                )


def _check_history(config: Config) -> Iterator[Problem]:
    history = config.features.history
    known = [] if config.data.rows_only else _inputs(config)["item"]
    for position, field in enumerate(history.fields):
        if field not in known:
            at = ("features", "history", "fields", position)
            yield Problem(unknown(field, known, noun="field of features.item"), at=at)


def _check_samples(config: Config) -> Iterator[Problem]:
    if config.ranking is None:
        return
    samples = config.ranking.samples
    at = ("ranking", "samples", "kind")
    if samples.kind == "events" and config.data.positive is None:
        yield Problem(
            "found events, but data.positive is null: every row would be a positive and nothing a negative; "
            "set data.positive, or use candidates",
            at=at,
        )
    if samples.kind == "candidates" and _share(config, "rank") == 0:
        yield Problem(
            "found candidates, but split.rank is 0: no request to sample; give it a share, or use events", at=at
        )
    if _share(config, "valid") == 0:
        what = "found 0, but a ranker is trained until the valid window says to stop; give it a share"
        yield Problem(what, at=("split", "valid"))
    if isinstance(config.ranking.model, SequenceSettings) and config.data.rows_only:
        what = "which compares past items with the candidate, but a log without users and items has no histories"
        yield Problem(
            f"found {config.ranking.model.kind}, {what}; expected another, such as deepfm",
            at=("ranking", "model", "kind"),
        )
    elif isinstance(config.ranking.model, SequenceSettings) and not config.features.history.fields:
        what = "which compares past items with the candidate, but features.history.fields is empty; name item_id there"
        yield Problem(f"found {config.ranking.model.kind}, {what}", at=("ranking", "model", "kind"))
    for where, loss in _losses(config.ranking):
        groups = needing_groups(loss)
        if groups and samples.kind == "events" and config.data.interactions.request_id is None:
            yield Problem(
                f"found {groups[0]}, which compares the candidates of a request, but ranking.samples.kind is events "
                "and data.interactions.request_id is null: every row is a request of its own; name the column, use "
                "samples of kind candidates and a split.rank, or a loss of single rows: bce, focal, mse",
                at=where,
            )
    yield from _check_trees(config, config.ranking)
    if samples.per == "event" and config.data.order == "none":
        yield Problem(
            "found event, but data.order is none: no event comes before another; expected window",
            at=("ranking", "samples", "per"),
            protocol=True,
        )


def _check_trees(config: Config, ranking: RankingConfig) -> Iterator[Problem]:
    kind = ranking.model.kind
    if kind in TREES and ranking.loss != BCELoss(kind="bce"):
        yield Problem(f"found a loss, but {kind} has one of its own; leave it out", at=("ranking", "loss"))
    if kind == "lambdamart" and ranking.samples.kind == "events" and config.data.interactions.request_id is None:
        yield Problem(
            "found lambdamart, which compares the candidates of a request, but ranking.samples.kind is events and "
            "data.interactions.request_id is null: every row is a request of its own; name the column, use samples of "
            "kind candidates and a split.rank, or gbdt",
            at=("ranking", "model", "kind"),
        )


def _check_weights_of_samples(config: Config) -> Iterator[Problem]:
    if config.ranking is None:
        return
    weights, log = config.ranking.samples.weights, config.data.interactions
    at: KeyPath = ("ranking", "samples", "weights")
    if weights.half_life_days is not None and _timeless(config):
        what = (
            f"found {weights.half_life_days:g}, expected null: {_timeless(config)}, so no event is older than another"
        )
        yield Problem(what, at=(*at, "half_life_days"))
    if weights.value is not None and weights.value not in log.labels:
        what = unknown(weights.value, log.labels, noun="label of data.interactions.labels")
        yield Problem(what, at=(*at, "value"))
    if weights.propensity and log.propensity is None:
        yield Problem("found true, but data.interactions.propensity is null; name the column", at=(*at, "propensity"))


def _check_imbalance(config: Config) -> Iterator[Problem]:
    ranking = config.ranking
    if ranking is None or ranking.samples.negatives_per_positive is None:
        return
    samples, at = ranking.samples, ("ranking", "samples", "negatives_per_positive")
    if samples.kind == "candidates" and samples.imbalance == "under_sample":
        return
    found = f"found {samples.negatives_per_positive:g}"
    if ranking.tasks:
        what = (
            "with ranking.tasks: each has positives of its own, and no ratio could be corrected for all; leave it out"
        )
        yield Problem(f"{found} {what}", at=at)
    for where, loss in _losses(ranking):
        if any(term.kind == "mse" for term in loss_terms(loss)):
            what = f"with mse at {dotted(where)}: scores are labels there, and another ratio means other labels"
            yield Problem(f"{found} {what}; leave it out, or use bce", at=at)
    if samples.imbalance in ("over_sample", *SYNTHETIC) and config.data.interactions.request_id is not None:
        yield Problem(
            f"found {samples.imbalance} with data.interactions.request_id: nobody was shown such lists; expected "
            "class_weight, which says the same",
            at=("ranking", "samples", "imbalance"),
        )
    if samples.imbalance in SYNTHETIC:
        yield from _check_numbers(config, ranking)


def _check_numbers(config: Config, ranking: RankingConfig) -> Iterator[Problem]:
    """What lies between two rows must be a row."""
    at: KeyPath = ("ranking", "samples", "imbalance")
    model, kind = ranking.model, ranking.samples.imbalance
    if ranking.teacher is not None:
        what = f"found {kind} with ranking.teacher, which has no scores for what is made up; use class_weight"
        yield Problem(what, at=at)
    if isinstance(model, SequenceSettings) and config.features.history.fields:
        what = f"found {kind} with {model.kind}, which reads a history: half way between two histories is nothing"
        yield Problem(f"{what}; use class_weight, or a ranker that reads none", at=at)
    for side in get_args(TableSide):
        for name, transform in _transforms(config)[side].items():
            field = f"{side}.{name}"
            read = field not in model.exclude and (model.fields is None or field in model.fields)
            if read and transform.kind not in _NUMBERS:
                yield Problem(
                    f"found {kind}, but the ranker reads {field}, which is {transform.kind}: half way between two "
                    "categories is nothing; name it in ranking.model.exclude, or use class_weight",
                    at=at,
                )


_NUMBERS = ("standard", "min_max", "log")
"""Transforms that give numbers."""


_LIKELIHOODS = ("bce", "softmax", "infonce", "ranknet", "bpr")
"""Losses whose scores can be corrected for how samples were drawn."""


def _check_logq(config: Config) -> Iterator[Problem]:
    ranking, at = config.ranking, ("ranking", "samples", "logq")
    if ranking is None or not ranking.samples.logq:
        return
    if ranking.tasks:
        what = "found true with ranking.tasks: negatives are drawn among what is no positive of data.positive"
        yield Problem(f"{what}, and tasks have others; leave it out", at=at)
    if ranking.model.kind == "lambdamart":
        yield Problem("found true with lambdamart, whose scores are no log-odds; leave it out, or use gbdt", at=at)
    for where, loss in _losses(ranking):
        for term in loss_terms(loss):
            if term.kind not in _LIKELIHOODS or getattr(term, "temperature", 1.0) != 1.0:
                yield Problem(
                    f"found true with {term.kind} at {dotted(where)}, expected {', '.join(_LIKELIHOODS)}, at a "
                    "temperature of 1: only scores that are logarithms of chances can be corrected for other chances",
                    at=at,
                )


def _check_hard_negatives(config: Config) -> Iterator[Problem]:
    ranking = config.ranking
    if ranking is None or not ranking.samples.hard_negatives:
        return
    found, at = f"found {ranking.samples.hard_negatives}", ("ranking", "samples", "hard_negatives")
    if ranking.samples.kind == "events" and config.data.interactions.request_id is None:
        what = "with samples of kind events, but data.interactions.request_id is null: every row is a group of its own"
        yield Problem(f"{found} {what}; name the column, or use candidates", at=at)
    if ranking.model.kind in TREES:
        yield Problem(f"{found} with {ranking.model.kind}, which has no epochs to mine for; leave it out", at=at)
    if ranking.tasks:
        what = "with ranking.tasks: what is a negative of one may be a positive of another"
        yield Problem(f"{found} {what}; leave it out", at=at)


def _losses(ranking: RankingConfig) -> Iterator[tuple[KeyPath, LossConfig]]:
    """Every loss that is named, and where."""
    yield ("ranking", "loss"), ranking.loss
    yield from ((("ranking", "tasks", name, "loss"), t.loss) for name, t in ranking.tasks.items() if t.loss is not None)


def _check_tasks(config: Config) -> Iterator[Problem]:
    ranking = config.ranking
    if ranking is None:
        return
    kind, several = ranking.model.kind, ranking.model.kind in MULTI_TASK
    wanted = "exactly 2, the click and the conversion" if kind == "esmm" else "at least 2"
    at: KeyPath = ("ranking", "tasks")
    if ranking.tasks and not several:
        yield Problem(f"found tasks, but {kind} learns one; expected a model of {', '.join(MULTI_TASK)}", at=at)
    elif several and (len(ranking.tasks) != 2 if kind == "esmm" else len(ranking.tasks) < 2):
        yield Problem(f"found {len(ranking.tasks)}, expected {wanted}: {kind} learns several tasks", at=at)
    yield from _check_each_task(config, ranking)


def _check_each_task(config: Config, ranking: RankingConfig) -> Iterator[Problem]:
    at: KeyPath = ("ranking", "tasks")
    for name, task in ranking.tasks.items():
        if task.label not in config.data.interactions.labels:
            labels = config.data.interactions.labels
            yield Problem(
                unknown(task.label, labels, noun="label of data.interactions.labels"), at=(*at, name, "label")
            )
    scoring = {name: task for name, task in ranking.tasks.items() if task.score}
    for name, task in scoring.items() if len(scoring) > 1 else ():
        if any(term.kind == "mse" for term in loss_terms(task.loss or ranking.loss)):
            yield Problem(
                "found mse with a score above 0: lists are ordered by a product of probabilities, and scores of mse "
                "are no log-odds; expected score: 0, or bce",
                at=(*at, name, "loss"),
            )
    if ranking.tasks and not scoring:
        yield Problem("every score is 0, so all candidates would score alike; expected one above 0", at=at)
    if ranking.tasks and ranking.samples.per == "event":
        where = ("ranking", "samples", "per")
        yield Problem("found event with ranking.tasks, expected window: a task's labels are of the window", at=where)


def _check_teacher(config: Config) -> Iterator[Problem]:
    ranking = config.ranking
    if ranking is None or ranking.teacher is None:
        return
    kind, teacher, at = ranking.model.kind, ranking.teacher.model.kind, ("ranking", "teacher")
    if kind in TREES:
        yield Problem(f"found one, but {kind} learns from labels alone; leave it out", at=at)
    elif teacher in TREES:
        yield Problem(f"found {teacher}, expected a network", at=(*at, "model", "kind"))
    elif (teacher in MULTI_TASK) != (kind in MULTI_TASK) or (teacher == "esmm" and len(ranking.tasks) != 2):
        yield Problem(f"found {teacher}, expected a model of as many tasks as {kind} learns", at=(*at, "model", "kind"))
    rows = ranking.samples.kind == "events" and config.data.interactions.request_id is None
    if ranking.teacher.over == "list" and rows:
        what = "found list, but every row is a request of its own: data.interactions.request_id is null; expected entry"
        yield Problem(what, at=(*at, "over"))


def _check_ranker_fields(config: Config) -> Iterator[Problem]:
    if config.ranking is None:
        return
    known = [f"{side}.{name}" for side, names in _inputs(config).items() for name in names]
    known += [f"history.{name}" for name in config.features.history.fields]
    for at, field in _all_named_inputs(config.ranking):
        if field not in known and not _is_route_input(field, config.routes):
            named = (*config.routes, "fusion") if config.routes else ()
            routes = [f"route.{name}.{what}" for name in named for what in ("rank", "score")]
            yield Problem(unknown(field, [*known, *routes], noun="model input"), at=at)


def _all_named_inputs(ranking: RankingConfig) -> Iterator[tuple[KeyPath, str]]:
    """Inputs that the settings of the ranker and of its teacher name, and where."""
    yield from ((("ranking", "model", *keys), field) for keys, field in _named_inputs(ranking.model))
    if ranking.teacher is not None:
        named = _named_inputs(ranking.teacher.model)
        yield from ((("ranking", "teacher", "model", *keys), field) for keys, field in named)


def _named_inputs(model: RankerConfig) -> Iterator[tuple[KeyPath, str]]:
    """Inputs that a ranker's settings name, and where."""
    yield from ((("fields", position), field) for position, field in enumerate(model.fields or ()))
    if isinstance(model, WideDeepConfig):
        for number, cross in enumerate(model.crosses):
            yield from ((("crosses", number, position), field) for position, field in enumerate(cross))


def _is_route_input(field: str, routes: Mapping[str, RouteConfig]) -> bool:
    """Whether a name is of what routes and history say of a candidate; which figures there are, the runtime knows."""
    side, _, rest = field.partition(".")
    name, _, figure = rest.partition(".")
    return side == "route" and bool(routes) and name in {*routes, "fusion", "match", "history"} and bool(figure)


_CHECKS: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    _check_roles,
    _check_split,
    _check_rows_only,
    _check_routes,
    _check_fusion,
    _check_depths,
    _check_features,
    _check_history,
    _check_samples,
    _check_weights_of_samples,
    _check_imbalance,
    _check_logq,
    _check_hard_negatives,
    _check_tasks,
    _check_teacher,
    _check_ranker_fields,
)
