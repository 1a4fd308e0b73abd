"""`recsys data synth`: simulates a world and writes it, a day at a time."""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from recsys.data.synthetic.columns import INTERACTIONS, TRUTH, Ids, items_table, log_table, truth_table, users_table
from recsys.data.synthetic.oracle import Oracle
from recsys.data.synthetic.pipeline import pipeline_config
from recsys.data.synthetic.population import draw_items, draw_users
from recsys.data.synthetic.simulate import Block, Day, Nature, find_offset, open_day, simulate_block
from recsys.data.synthetic.world import World
from recsys.data.tables import write_parquet
from recsys.errors import InputError

__all__ = ["Simulated", "simulate"]

Progress = Callable[[str, int, int | None], None]
"""Called with what is going on, the bytes written, and an estimate of the bytes in all; by another thread."""

_OURS = frozenset({"interactions", "oracle", "users.parquet", "items.parquet", "config.yaml", "world.json"})


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was written.

    Attributes:
        folder: where.
        world: its parameters.
        clicks: events with a click.
    """

    folder: Path
    world: World
    clicks: int

    @property
    def config(self) -> Path:
        """The configuration that runs on it."""
        return self.folder / "config.yaml"

    def summary(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            "folder": str(self.folder),
            "config": str(self.config),
            "events": self.world.events,
            "users": self.world.users,
            "items": self.world.items,
            "clicks": self.clicks,
        }


def simulate(
    world: World,
    folder: Path,
    *,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Simulated:
    """Simulates a world and writes tables, oracle, configuration and parameters into a folder.

    The folder appears whole or not at all. On one machine the same world gives the same bytes, however many threads
    there are; another processor may round a probability, and with it draw a click, differently.

    Args:
        world: what to simulate.
        folder: created; see `docs/simulated-world.md` for what it holds.
        force: replace a simulated world that is there.
        threads: how many simulate at once; by default one a core, four at most.
        progress: told about the bytes written.

    Raises:
        InputError: the folder holds something already, or cannot be written.
    """
    _check_free(folder, force=force)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        clicks = _write_world(world, partial, folder, threads or min(os.cpu_count() or 1, 4), progress)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Simulated(folder, world, clicks)


def _check_free(folder: Path, *, force: bool) -> None:
    if not folder.name:
        raise InputError(f"{folder}: found no name to write under, expected a folder of its own, such as data/synth")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: found a file, expected a folder that is not there yet; choose another")
    strange = sorted({path.name for path in folder.iterdir()} - _OURS)
    if strange:
        raise InputError(f"{folder}: found {strange[0]}, which is not of a simulated world; choose another folder")
    if any(folder.iterdir()) and not force:
        raise InputError(f"{folder}: holds a simulated world already; --force replaces it")


def _write_world(world: World, into: Path, folder: Path, threads: int, progress: Progress | None) -> int:
    users, items, ids = draw_users(world), draw_items(world), Ids(world)
    interest = np.zeros((world.users, world.categories), np.float32)
    nature = Nature(world, users, items, find_offset(world, users, items), interest)
    for name in ("interactions", "oracle"):
        (into / name).mkdir()
    write_parquet(users_table(world, ids, users), into / "users.parquet")
    write_parquet(items_table(world, ids, items), into / "items.parquet")
    log = _Log(nature, ids, into, progress)
    _simulate_days(nature, ids, log, into / "oracle", threads)
    (into / "config.yaml").write_text(pipeline_config(world, folder), encoding="utf-8")
    _write_parameters(nature, into)
    return log.clicks


class _Log:
    """Writes the log and the truth, a block at a time. Called by one thread, so that others can simulate meanwhile."""

    def __init__(self, nature: Nature, ids: Ids, into: Path, progress: Progress | None) -> None:
        self.clicks = 0
        self._nature, self._ids, self._into, self._progress = nature, ids, into, progress
        self._written = self._requests = self._events = 0

    def open(self, day: int) -> None:
        """Begins the files of a day."""
        name = f"day-{day:03d}.parquet"
        self._day = day
        self._paths = [self._into / "interactions" / name, self._into / "oracle" / name]
        self._log = pq.ParquetWriter(self._paths[0], INTERACTIONS, **_WRITER, use_dictionary=_REPEATED)
        self._truth = pq.ParquetWriter(self._paths[1], TRUTH, **_WRITER, use_dictionary=False)

    def add(self, block: Block) -> None:
        """Writes a block of the day; of the last request of all, no more than there are events."""
        left = self._nature.world.events - self._events
        logged = log_table(self._nature, self._ids, block, day=self._day, first_request=self._requests).slice(0, left)
        self._log.write_table(logged)
        self._truth.write_table(truth_table(block).slice(0, left))
        self.clicks += int(np.count_nonzero(block.click.ravel()[:left]))
        self._requests += len(block.user)
        self._events += logged.num_rows

    def close(self) -> None:
        """Ends the files of the day."""
        self._log.close()
        self._truth.close()
        self._written += sum(path.stat().st_size for path in self._paths)
        if self._progress is not None:
            total = self._written * self._nature.world.events // self._events
            self._progress("simulating", self._written, total)


def _simulate_days(nature: Nature, ids: Ids, log: _Log, folder: Path, threads: int) -> None:
    """Simulates day after day; what is done is written while the next is simulated."""
    world, waiting = nature.world, deque[Future[None]]()
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as writer:
        for number in range(world.days):
            day = open_day(nature, number)
            if number == world.days - 1:
                waiting.append(writer.submit(_write_oracle, _oracle(nature, ids, day), world, day, folder))
            waiting.append(writer.submit(log.open, number))
            for block in _in_turn(nature, day, pool, 2 * threads):
                waiting.append(writer.submit(log.add, block))
                # Memory holds no more blocks than this, however far ahead of the disk the simulation is.
                while len(waiting) > 4 * threads:
                    waiting.popleft().result()
            waiting.append(writer.submit(log.close))
        while waiting:
            waiting.popleft().result()


def _in_turn(nature: Nature, day: Day, pool: ThreadPoolExecutor, ahead: int) -> Iterator[Block]:
    """The blocks of a day in order, with a few in the making: memory does not grow with the day."""
    making: deque[Future[Block]] = deque()
    for block in day.blocks():
        making.append(pool.submit(simulate_block, nature, day, block))
        if len(making) >= ahead:
            yield making.popleft().result()
    while making:
        yield making.popleft().result()


def _oracle(nature: Nature, ids: Ids, day: Day) -> Oracle:
    """The truth before the first request of a day."""
    crossed = nature.users.crossed.copy()
    crossed[:, :-2] += np.float32(nature.world.session) * nature.interest
    plain = nature.users.plain(nature.world, np.arange(nature.world.users), day.number)
    items = np.concatenate([day.shelf.plain, nature.items.crossed], axis=1)
    # The offset goes with the users' 1, into the items' popularity.
    items[:, 0] += np.float32(nature.offset)
    return Oracle(ids.users, ids.items, np.concatenate([plain, crossed], axis=1), items)


def _write_oracle(oracle: Oracle, world: World, day: Day, folder: Path) -> None:
    oracle.save(folder)
    oracle.save_best(folder, np.sort(day.users[: world.oracle_users]), world.oracle_length)


def _write_parameters(nature: Nature, into: Path) -> None:
    files = sorted(path for path in into.rglob("*") if path.is_file())
    sums = {path.relative_to(into).as_posix(): _sha256(path) for path in files}
    parameters = {"world": nature.world.to_dict(), "offset": nature.offset, "files": sums}
    (into / "world.json").write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Readers get plain strings, whatever the writer was handed.
_WRITER: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "store_schema": False}
_REPEATED = ["user_id", "item_id", "timestamp", "request_id", "position", "propensity", "order_value", "device"]
