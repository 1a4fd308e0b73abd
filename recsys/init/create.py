"""From files to a configuration on disk: look, guess, choose, write, check."""

import os
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import Config
from recsys.data.columns import Role, parse
from recsys.errors import InputError
from recsys.init.document import Table, write_document
from recsys.init.guess import Guess, find, guess_log, guess_table, moments_of, overlap
from recsys.init.objective import Objective, choose_objective, rows_objective
from recsys.init.plan import Facts, Plan, make_plan
from recsys.init.profile import Profile, profile, readable
from recsys.init.rows import guess_rows, has_no_ids, plan_rows
from recsys.init.sample import HEADER_FLAGS, Sample, read_sample
from recsys.init.wide import move_attributes
from recsys.problems import unknown
from recsys.settings import load_settings

__all__ = ["Created", "create"]

Mask = NDArray[np.bool_]

_DEFAULT_SHARE = 0.01
_FLAGS = {"user_id": "--user-id", "item_id": "--item-id", "timestamp": "--timestamp"}


@dataclass(frozen=True, slots=True)
class Created:
    """What was written, and why.

    Attributes:
        path: The configuration.
        log: The events and what their columns are taken for.
        users: The users table.
        items: The items table.
        objective: What is learnt.
        plan: The settings.
        run: The next command.
    """

    path: Path
    log: Table
    users: Table | None
    items: Table | None
    objective: Objective
    plan: Plan
    run: str

    def rows(self) -> list[dict[str, Any]]:
        """One entry a column: table, column, part, kind, distinct values, why."""
        tables = {"interactions": self.log, "users": self.users, "items": self.items}
        return [
            {
                "table": name,
                "column": guess.column,
                "role": guess.part,
                "kind": guess.kind or guess.profile.form,
                "distinct": guess.profile.distinct,
                "guessed": not guess.sure,
                "why": guess.why,
            }
            for name, table in tables.items()
            if table is not None
            for guess in table.guesses
        ]

    def reasons(self) -> dict[str, str]:
        """What was chosen, and why."""
        chosen = {"objective": f"{self.objective.kind}: {self.objective.why}"}
        return chosen | {what: self.plan.why[what] for what in ("split", "routes", "ranking")}

    def summary(self) -> dict[str, Any]:
        """Everything a script would read, as plain data."""
        return {
            "config": str(self.path),
            "columns": self.rows(),
            "objective": {
                "kind": self.objective.kind,
                "label": self.objective.label,
                "at_least": self.objective.at_least if self.objective.label else None,
                "positive_share": self.objective.share,
            },
            "why": self.reasons(),
            "next": self.run,
        }


def create(
    interactions: str,
    *,
    users: str | None = None,
    items: str | None = None,
    out: Path = Path("recsys.yaml"),
    name: str | None = None,
    force: bool = False,
    given: Mapping[str, str] | None = None,
    headers: Mapping[str, Sequence[str]] | None = None,
    rows: bool = False,
) -> Created:
    """Looks at the files and writes a configuration that runs on them.

    Args:
        interactions: A file, folder or glob of events.
        users: One of users.
        items: One of items.
        out: Where the configuration goes.
        name: Of the pipeline; `None` takes it from the file.
        force: Whether to replace a configuration that is there.
        given: Column by part (`user_id`, `item_id`, `timestamp`), instead of a guess.
        headers: By table (`interactions`, `users`, `items`), the names of the columns of files without a header.
        rows: Whether rows are scored by themselves, without a user and an item; such a log is recognised, too.

    Raises:
        InputError: A file cannot be used, no column can be user or item, or `out` is there already.
    """
    if out.exists() and not force:
        raise InputError(f"{out}: is there already; expected a new file; --force replaces it, --out names another")
    asked = _Asked(interactions, users, items, dict(given or {}), dict(headers or {}), rows)
    log, user_table, item_table = _look(asked)
    try:
        objective, plan = _decide(log, item_table)
    except InputError as error:
        raise InputError(f"{interactions}: {error}") from None
    run = f"recsys run {shlex.quote(str(out))}"
    text = write_document(
        command=_command(asked, out, name),
        run=run,
        name=_name(name or Path(interactions.rstrip("/*")).name.partition(".")[0]),
        log=log,
        users=user_table,
        items=item_table,
        objective=objective,
        plan=plan,
        max_reject_share=_reject_share([log, user_table, item_table]),
    )
    _write(text, out)
    return Created(out, log, user_table, item_table, objective, plan, run)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was said on the command line."""

    interactions: str
    users: str | None
    items: str | None
    given: Mapping[str, str]
    headers: Mapping[str, Sequence[str]]
    rows: bool

    @property
    def paths(self) -> dict[str, str]:
        """Of the tables that there are."""
        found = {"interactions": self.interactions, "users": self.users, "items": self.items}
        return {key: path for key, path in found.items() if path is not None}


def _decide(log: Table, items: Table | None) -> tuple[Objective, Plan]:
    """What is learnt, and by which settings: recommendations, or without users and items a score for each row."""
    if find(log.guesses, "item_id") is not None:
        objective = choose_objective(log.guesses, len(log.sample))
        return objective, make_plan(_facts(log, items, objective.positive), objective)
    found = rows_objective(log.guesses, len(log.sample))
    if found is None:
        raise InputError(
            "found neither user nor item nor a label, expected a column of 0 and 1 to learn; or name the ids: "
            "--user-id COLUMN --item-id COLUMN"
        )
    return found, plan_rows(found, log.sample.rows, timed=find(log.guesses, "timestamp") is not None)


def _look(asked: _Asked) -> tuple[Table, Table | None, Table | None]:
    """The tables, and what their columns are taken for."""
    path, given = asked.interactions, asked.given
    _check_headers(asked)
    samples = {key: read_sample(at, key, header=asked.headers.get(key)) for key, at in asked.paths.items()}
    profiles = {
        key: [profile(column, values, sample.declared.get(column)) for column, values in sample.columns.items()]
        for key, sample in samples.items()
    }
    log = profiles["interactions"]
    _check_given(path, [column.name for column in log], given)
    if _is_rows_log(asked, log):
        return Table(samples["interactions"], guess_rows(log, given.get("timestamp"))), None, None
    known = {
        part: _known(log, profiles[key]) for part, key in (("user_id", "users"), ("item_id", "items")) if key in samples
    }
    guesses = guess_log(log, given=given, known=known)
    _check_ids(path, guesses)
    _check_readable(path, guesses)
    guesses, moved = move_attributes(guesses, [part for part, key in _ENTITIES.items() if key not in samples])
    tables: dict[str, Table] = {}
    for part, key in _ENTITIES.items():
        if key in samples:
            tables[key] = _table(samples[key], profiles[key], part, guesses)
        elif part in moved:
            columns = {guess.column: guess.profile.values for guess in moved[part].guesses}
            sample = replace(samples["interactions"], columns=columns, rows=moved[part].ids, unusable={}, remarks=())
            tables[key] = Table(sample, moved[part].guesses, from_log=True)
    return Table(samples["interactions"], guesses), tables.get("users"), tables.get("items")


_ENTITIES: dict[Literal["user_id", "item_id"], str] = {"user_id": "users", "item_id": "items"}


def _is_rows_log(asked: _Asked, columns: Sequence[Profile]) -> bool:
    """Whether rows are scored by themselves: as told, or by what the columns are."""
    ids = {"user_id", "item_id"} & set(asked.given)
    tables = asked.users or asked.items
    if asked.rows and (ids or tables):
        found = _FLAGS[min(ids)] if ids else "--users" if asked.users else "--items"
        raise InputError(
            f"--rows: found {found} as well, expected one of both: rows are scored without users and items"
        )
    return asked.rows or (not ids and not tables and has_no_ids(columns))


def _check_headers(asked: _Asked) -> None:
    for key, names in asked.headers.items():
        flag = HEADER_FLAGS[key]
        if key not in asked.paths:
            raise InputError(f"{flag}: found names but no table, expected --{key} FILE as well")
        twice = [name for name in names if list(names).count(name) > 1]
        if twice or not all(names):
            raise InputError(f"{flag}: found {twice[0] if twice else 'an empty name'!r}, expected different names")


def _check_given(path: str, columns: Sequence[str], given: Mapping[str, str]) -> None:
    for part, column in given.items():
        if column not in columns:
            raise InputError(f"{path}: {_FLAGS[part]}: {unknown(column, columns, noun='column')}")
    twice = [part for part in given if list(given.values()).count(given[part]) > 1]
    if twice:
        raise InputError(f"{path}: {_FLAGS[twice[0]]}: found {given[twice[0]]} for two parts, expected one column each")


def _check_ids(path: str, guesses: Sequence[Guess]) -> None:
    missing = [part for part in ("user_id", "item_id") if not any(guess.part == part for guess in guesses)]
    if missing:
        found = ", ".join(f"{guess.column} ({guess.profile.form})" for guess in guesses)
        who = " or the ".join("user" if part == "user_id" else "item" for part in missing)
        flags = " ".join(f"{_FLAGS[part]} COLUMN" for part in missing)
        raise InputError(
            f"{path}: found no column that looks like the {who} of an event among {found or 'no usable columns'}; "
            f"expected ids, text or whole numbers, that come back in other rows; name them: {flags}; or --rows for a "
            "click log that has neither"
        )


def _check_readable(path: str, guesses: Sequence[Guess]) -> None:
    """Refuses a log of which less than half could be read, as when a wrong column was named."""
    for guess in guesses:
        if guess.part not in ("user_id", "item_id", "timestamp"):
            continue
        role = _role(guess)
        kept = None if role is None else readable(guess.profile, role)
        share = 0.0 if kept is None else float(kept.mean())
        if share < 0.5:
            what = "ids, text or whole numbers" if guess.part != "timestamp" else "dates or seconds since 1970"
            raise InputError(
                f"{path}: column {guess.column}: found {share:.0%} of the rows readable as {guess.part}, expected "
                f"{what} in nearly all; name another column: {_FLAGS[guess.part]} COLUMN"
            )


def _known(log: Sequence[Profile], table: Sequence[Profile]) -> dict[str, float]:
    """By column of the log: the share of its values that some column of a table, one row a value, knows."""
    keys = [column.values for column in table if column.unique]
    return {column.name: max((overlap(column.values, key) for key in keys), default=0.0) for column in log}


def _table(
    sample: Sample, columns: Sequence[Profile], part: Literal["user_id", "item_id"], log: Sequence[Guess]
) -> Table:
    own = find(log, part)
    assert own is not None
    ids = {column.name: overlap(own.profile.values, column.values) for column in columns}
    if ids.get(own.column) == 0:
        # Named alike and nothing in common: whatever else fits, fits by chance.
        ids = dict.fromkeys(ids, 0.0)
    guesses = guess_table(columns, part, ids)
    if not any(guess.part == part for guess in guesses):
        raise InputError(
            f"{sample.config.path}: found no column with the ids of the log's {own.column} among "
            f"{', '.join(ids)}; expected one with values such as {_examples(own.profile)}, one row each"
        )
    return Table(sample, guesses)


def _examples(column: Profile) -> str:
    some = [str(value) for value in column.values.slice(0, 100).drop_null().unique().to_pylist()[:3]]
    return ", ".join("".join(c if c.isprintable() else " " for c in text)[:30] for text in some)


def _facts(log: Table, items: Table | None, positive: Mask) -> Facts:
    """The rows that ingest would keep."""
    user, item = find(log.guesses, "user_id"), find(log.guesses, "item_id")
    assert user is not None
    assert item is not None
    more = 0
    if items is not None:
        key = find(items.guesses, "item_id")
        more = 0 if key is None else key.profile.distinct
    moments = moments_of(log.guesses)
    request = find(log.guesses, "request_id")
    same = {"user": _codes(user), "item": _codes(item), "time": moments, "request": request and _codes(request)}
    repeated = pd.DataFrame({name: values for name, values in same.items() if values is not None}).duplicated()
    kept = _kept(log) & ~repeated.to_numpy()
    return Facts(
        user=_codes(user)[kept],
        item=_codes(item)[kept],
        time=None if moments is None else moments[kept],
        positive=positive[kept],
        rows=log.sample.rows,
        users=user.profile.distinct_in(log.sample.rows),
        items=max(len(np.unique(_codes(item)[kept])), more),
    )


def _codes(guess: Guess) -> NDArray[np.int64]:
    ids = parse(guess.profile.values, Role("id", "id", "id")).values
    return np.asarray(pd.factorize(ids.to_numpy(zero_copy_only=False))[0], dtype=np.int64)


def _reject_share(tables: Sequence[Table | None]) -> float | None:
    """A limit above what the rows looked at would have rejected, if that is more than the default."""
    worst = max(_rejected(table) for table in tables if table is not None)
    return None if worst <= _DEFAULT_SHARE / 2 else min(round(1.2 * worst + 0.01, 2), 1.0)


def _rejected(table: Table) -> float:
    """The share of rows that ingest would reject."""
    if table.from_log:
        masks = [readable(guess.profile, role) for guess in table.guesses if (role := _role(guess)) is not None]
        return max((1 - float(mask.mean()) for mask in masks if mask is not None), default=0.0)
    return 1 - float(_kept(table).mean()) + _repeated(table)


def _kept(table: Table) -> Mask:
    """Which rows every column can be read in."""
    keep = np.ones(len(table.sample), dtype=np.bool_)
    for guess in table.guesses:
        role = _role(guess)
        kept = None if role is None else readable(guess.profile, role)
        if kept is not None:
            keep &= kept
    return keep


def _role(guess: Guess) -> Role | None:
    """The part as ingest knows it."""
    required = guess.part in ("user_id", "item_id", "timestamp", "label")
    kinds: dict[str, Any] = {"user_id": "id", "item_id": "id", "request_id": "id", "exposed": "flag"}
    kinds |= {part: part for part in ("timestamp", "position", "propensity", "label")}
    kind = guess.kind or kinds.get(guess.part)
    unit = guess.profile.clock if guess.part == "timestamp" else "auto"
    return None if kind is None else Role(guess.part, guess.column, kind, required=required, unit=unit)


def _repeated(table: Table) -> float:
    """The share of rows of a users or items table whose id stands in an earlier row."""
    if find(table.guesses, "user_id") is not None and find(table.guesses, "item_id") is not None:
        return 0.0
    key = find(table.guesses, "user_id") or find(table.guesses, "item_id")
    return 0.0 if key is None else 1 - (key.profile.distinct + key.profile.nulls) / max(key.profile.rows, 1)


def _name(text: str) -> str:
    """A name that the configuration allows."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    slug = slug if re.match(r"[a-z]", slug) else f"data-{slug}".strip("-")
    return slug[:64]


def _command(asked: _Asked, out: Path, name: str | None) -> str:
    options = {f"--{key}": path for key, path in asked.paths.items()} | {"--name": name}
    options |= {HEADER_FLAGS[key]: ",".join(names) for key, names in asked.headers.items()}
    options |= {_FLAGS[part]: column for part, column in asked.given.items()}
    options["--out"] = None if str(out) == "recsys.yaml" else str(out)
    said = " ".join(f"{flag} {shlex.quote(value)}" for flag, value in options.items() if value is not None)
    return f"recsys init {said}{' --rows' if asked.rows else ''}"


def _write(text: str, out: Path) -> None:
    """Puts the file in place once it is known to load."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".yaml")
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); expected a folder that can, see --out"
        ) from None
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        load_settings(Config, partial, environ={})
        os.chmod(partial, 0o644)
        os.replace(partial, out)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
