"""`split`: outside ids become codes, every event falls into a window."""

from functools import partial

import numpy as np

from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.split import RECALL, TEST, assign_windows
from recsys.data.tables import WINDOWS, Dataset
from recsys.errors import DataError
from recsys.features.catalogue import Catalogue, item_catalogue, user_catalogue
from recsys.features.history import events_from

__all__ = ["stage"]

_NAMES = dict(enumerate(WINDOWS))


def stage(config: Config) -> Stage:
    """The stage."""
    return Stage(
        "split",
        partial(_run, config),
        config={"split": config.split, "data": {"positive": config.data.positive}},
        inputs=("ingest",),
        modules=("pipelines.split",),
        seed=config.seed,
    )


def _run(config: Config, context: StageContext) -> Metrics:
    dataset = Dataset.load(context.inputs["ingest"])
    rows_only = config.data.rows_only
    users, items = (Catalogue([]),) * 2 if rows_only else (user_catalogue(dataset), item_catalogue(dataset))
    log = dataset.interactions
    time = log["timestamp"].cast("int64").to_numpy() if "timestamp" in log.column_names else None
    given = log["window"].to_numpy() if "window" in log.column_names else None
    rng = np.random.default_rng(context.seed)
    # Without users every row is by itself.
    owners = np.arange(log.num_rows) if rows_only else users.encode(log["user_id"])
    windows = assign_windows(owners, time, config.split, rng, given=given)
    events = events_from(dataset, users, items, config.data, windows)
    for window in (RECALL, TEST):
        if not (events.positive & (events.window == window)).any():
            raise DataError(
                f"split: none of the {int((events.window == window).sum()):,} events of the {_NAMES[window]} window "
                f"is a positive, out of {len(events):,} events; expected some: check data.positive and the shares"
            )
    users.save(context.folder / "users.parquet")
    items.save(context.folder / "items.parquet")
    events.save(context.folder / "events")
    counts = {f"{name}/events": int((events.window == window).sum()) for window, name in _NAMES.items()}
    return {"users": len(users), "items": len(items), "positives": int(events.positive.sum()), **counts}
