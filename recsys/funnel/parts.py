"""What a bundle holds, in memory and on disk: `save_parts` and `load_parts` are each other's mirror."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.bundle.format import CATALOGUE, FEATURES, RANKER, ROUTES, STATE, Manifest
from recsys.errors import ArtifactError, BundleError
from recsys.features.arrays import load_arrays, save_arrays
from recsys.features.batch import Arrays, Field, Floats, InputSpec
from recsys.features.catalogue import Catalogue
from recsys.features.encoder import FeatureEncoder
from recsys.features.history import Histories
from recsys.features.rows import RowColumn
from recsys.funnel.candidates import CandidateGenerator
from recsys.retrieval.registry import load_retriever, save_retriever
from recsys.scoring.base import Scorer
from recsys.scoring.calibration import Calibration
from recsys.scoring.registry import load_scorer, save_scorer
from recsys.scoring.tasks import Tasks

__all__ = ["FunnelParts", "Ranker", "load_parts", "save_parts"]

_TASKS = "tasks.json"
_CALIBRATION = "calibration.json"
_ROWS = "rows.json"
_GOLDEN_ROWS = "golden_rows.parquet"


@dataclass(frozen=True, slots=True)
class Ranker:
    """A scorer, the inputs it reads, in order, its tasks, if it has several, and what its logits say, if calibrated."""

    scorer: Scorer
    spec: InputSpec
    tasks: Tasks | None = None
    calibration: Calibration | None = None

    def answer(self, logits: Floats) -> Floats:
        """What candidates are ordered by, `(B, C)`, of the scorer's logits: the only task's, or as `Tasks` says."""
        return logits[..., 0] if self.tasks is None else self.tasks.score(logits)

    def log_odds(self, scores: Floats, task: int | None = None) -> NDArray[np.floating]:
        """Of a task's logits, or of what candidates are ordered by, of any shape: calibrated where that can be."""
        if self.calibration is None or (task is None and self.tasks is not None):
            return scores
        return self.calibration.log_odds(scores, task or 0)

    def threshold(self, task: int | None = None) -> float | None:
        """The probability from which a task, or the answer of a single one, is a yes; `None` where there is none."""
        if self.calibration is None or not self.calibration.thresholds or (task is None and self.tasks is not None):
            return None
        return self.calibration.thresholds[task or 0]


@dataclass(frozen=True, slots=True)
class FunnelParts:
    """Everything the runtime answers from.

    Attributes:
        generator: retrievers, fusion and policy.
        ranker: `None` when the fused list is the answer.
        encoder: raw columns to model inputs.
        users: user ids; a user code is a position.
        items: item ids; an item code is a position.
        titles: one an item, for people to read; null where there is none.
        user_features: encoded `user.*` arrays `(U, …)`.
        item_features: encoded `item.*` arrays `(N, …)`.
        histories: the visible positive events of every user.
        popularity: `(N,)` event counts of the window the routes were fitted on; answers when no route does.
        rows: how the columns of a row of the log are read: ids, if it has any, and context.
        golden_rows: rows to score at every load, in their canonical types; of a bundle without routes.
    """

    generator: CandidateGenerator
    ranker: Ranker | None
    encoder: FeatureEncoder
    users: Catalogue
    items: Catalogue
    titles: pa.Array
    user_features: Arrays
    item_features: Arrays
    histories: Histories
    popularity: Floats
    rows: tuple[RowColumn, ...] = ()
    golden_rows: pa.Table | None = None

    @property
    def rows_only(self) -> bool:
        """Whether there is nothing to recommend: rows are scored by their own columns."""
        return not self.generator.retrievers

    def __post_init__(self) -> None:
        _check_length("titles", len(self.titles), len(self.items), "items")
        _check_length("popularity", len(self.popularity), len(self.items), "items")
        _check_length("histories", len(self.histories.offsets) - 1, len(self.users), "users")
        for name, values in self.item_features.items():
            _check_length(name, len(values), len(self.items), "items")
        for name, values in self.user_features.items():
            _check_length(name, len(values), len(self.users), "users")


def save_parts(parts: FunnelParts, folder: Path) -> None:
    """Writes the parts into an existing empty folder."""
    parts.encoder.save(_new(folder / FEATURES))
    _write_json(folder / FEATURES / _ROWS, [asdict(column) for column in parts.rows])
    if parts.golden_rows is not None:
        pq.write_table(parts.golden_rows, folder / FEATURES / _GOLDEN_ROWS)
    catalogue = _new(folder / CATALOGUE)
    parts.items.save(catalogue / "items.parquet")
    parts.users.save(catalogue / "users.parquet")
    pq.write_table(pa.table({"title": parts.titles.cast(pa.large_string())}), catalogue / "titles.parquet")
    save_arrays(catalogue / "item_features", parts.item_features)
    np.save(catalogue / "popularity.npy", np.asarray(parts.popularity, dtype=np.float32), allow_pickle=False)
    state = _new(folder / STATE)
    parts.histories.save(_new(state / "histories"))
    save_arrays(state / "user_features", parts.user_features)
    for name, retriever in parts.generator.retrievers.items():
        save_retriever(retriever, _new(folder / ROUTES / name))
    if parts.ranker is not None:
        save_scorer(parts.ranker.scorer, _new(folder / RANKER / "scorer"))
        _write_json(folder / RANKER / "inputs.json", asdict(parts.ranker.spec))
        if parts.ranker.tasks is not None:
            _write_json(folder / RANKER / _TASKS, asdict(parts.ranker.tasks))
        if parts.ranker.calibration is not None:
            _write_json(folder / RANKER / _CALIBRATION, parts.ranker.calibration.to_json())


def load_parts(bundle: Path, manifest: Manifest) -> FunnelParts:
    """Reads what `save_parts` wrote; large arrays are memory-mapped, so that workers share them.

    Args:
        bundle: the bundle's folder, already verified.
        manifest: its manifest.

    Raises:
        BundleError: a part cannot be read or does not fit the others.
    """
    try:
        return _load_parts(bundle, manifest)
    except BundleError:
        raise
    except (ArtifactError, OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise BundleError(f"{bundle}: cannot be read ({error}); build the bundle again") from error


def _load_parts(bundle: Path, manifest: Manifest) -> FunnelParts:
    catalogue, state = bundle / CATALOGUE, bundle / STATE
    item_features = load_arrays(catalogue / "item_features")
    retrievers = {route.name: load_retriever(bundle / ROUTES / route.name, item_features) for route in manifest.routes}
    for route in manifest.routes:
        _check_kind(bundle / ROUTES / route.name, retrievers[route.name].kind, route.kind)
    return FunnelParts(
        generator=CandidateGenerator(retrievers, manifest.fusion, manifest.policy),
        ranker=None if manifest.ranker is None else _load_ranker(bundle / RANKER, manifest.ranker.kind),
        encoder=FeatureEncoder.load(bundle / FEATURES),
        users=Catalogue.load(catalogue / "users.parquet"),
        items=Catalogue.load(catalogue / "items.parquet"),
        titles=pq.read_table(catalogue / "titles.parquet")["title"].combine_chunks(),
        user_features=load_arrays(state / "user_features"),
        item_features=item_features,
        histories=Histories.load(state / "histories"),
        popularity=np.load(catalogue / "popularity.npy", allow_pickle=False),
        rows=_load_rows(bundle / FEATURES / _ROWS),
        golden_rows=_load_golden(bundle / FEATURES / _GOLDEN_ROWS),
    )


def _load_rows(path: Path) -> tuple[RowColumn, ...]:
    return tuple(RowColumn(**column) for column in _read_json(path)) if path.exists() else ()


def _load_golden(path: Path) -> pa.Table | None:
    return pq.read_table(path) if path.exists() else None


def _load_ranker(folder: Path, kind: str) -> Ranker:
    scorer = load_scorer(folder / "scorer")
    _check_kind(folder, scorer.kind, kind)
    spec = _read_json(folder / "inputs.json")
    fields = tuple(Field(**field) for field in spec["fields"])
    tasks, calibration = _load_tasks(folder / _TASKS), _load_calibration(folder / _CALIBRATION)
    if calibration is not None and len(calibration.maps) != (1 if tasks is None else len(tasks.names)):
        raise BundleError(
            f"{folder / _CALIBRATION}: {len(calibration.maps)} maps, expected one a task; build the bundle again"
        )
    return Ranker(scorer, InputSpec(fields, int(spec["history_length"])), tasks, calibration)


def _load_tasks(path: Path) -> Tasks | None:
    if not path.exists():
        return None
    told = _read_json(path)
    return Tasks(tuple(map(str, told["names"])), tuple(map(float, told["powers"])))


def _load_calibration(path: Path) -> Calibration | None:
    return Calibration.from_json(_read_json(path)) if path.exists() else None


def _check_kind(folder: Path, found: str, expected: str) -> None:
    if found != expected:
        raise BundleError(f"{folder}: kind {found!r}, but the manifest says {expected!r}; build the bundle again")


def _check_length(name: str, found: int, expected: int, of: str) -> None:
    if found != expected:
        raise BundleError(f"{name}: {found} rows, but the catalogue has {expected} {of}; build the bundle again")


def _write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:  # noqa: ANN401
    return json.loads(path.read_text(encoding="utf-8"))


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
