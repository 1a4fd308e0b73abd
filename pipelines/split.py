"""`split`: outside ids become codes, every event falls into a window."""

import numpy as np

from pipelines.stage import Metrics, StageContext
from recsys.config import Config
from recsys.data.split import assign_windows
from recsys.data.split_config import RECALL, TEST, GivenSplit, LeaveLastOutSplit, PerUserSplit
from recsys.data.tables import WINDOWS, Dataset
from recsys.errors import DataError
from recsys.features.catalogue import Catalogue, item_catalogue, user_catalogue
from recsys.features.history import Events, events_from

__all__ = ["run"]

_NAMES = dict(enumerate(WINDOWS))


def run(config: Config, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
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
            raise DataError(_without_positive(config, events, window))
    users.save(context.folder / "users.parquet")
    items.save(context.folder / "items.parquet")
    events.save(context.folder / "events")
    counts = {f"{name}/events": int((events.window == window).sum()) for window, name in _NAMES.items()}
    return {"users": len(users), "items": len(items), "positives": int(events.positive.sum()), **counts}


def _without_positive(config: Config, events: Events, window: int) -> str:
    """Why a window has no positive, by the settings that decide it."""
    count, name = int((events.window == window).sum()), _NAMES[window]
    if count:
        positive = config.data.positive
        assert positive is not None, "without data.positive every event is one"
        return (
            f"data.positive: none of the {count:,} events of the {name} window is a positive, out of {len(events):,} "
            f"events, {int(events.positive.sum()):,} of them positives; expected some with {positive.label} of at "
            f"least {positive.at_least:g}; lower data.positive.at_least, or give the window more events"
        )
    most = int(np.bincount(events.user).max(initial=0))
    why = _why_empty(config, len(events), most)
    return f"split.kind: found {config.split.kind}, which leaves no event for the {name} window: {why}"


def _why_empty(config: Config, count: int, most: int) -> str:
    """Why the split leaves the test window empty: it needs more events than there are."""
    split = config.split
    if isinstance(split, GivenSplit):
        log = config.data.interactions
        where = f"data.interactions.window ({log.window})" if log.window else "data.interactions.files"
        return f"no row says so in {where}; expected some"
    if isinstance(split, LeaveLastOutSplit):
        return (
            f"it takes events of users with at least 3, and no user has more than {most:,}; "
            "use a split of kind global_time or random, or a log with more events of each user"
        )
    default = "" if "test" in split.model_fields_set else ", the default"
    if isinstance(split, PerUserSplit):
        return (
            f"split.test: {split.test:g}{default} of a user's events is less than one, and no user has more than "
            f"{most:,}; raise it, or use a split of kind global_time or random"
        )
    return f"split.test: {split.test:g}{default} of {count:,} events is less than one; raise it, or use a larger log"
