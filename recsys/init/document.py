"""The configuration as YAML that explains itself."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.data.config import TableConfig
from recsys.init.guess import Guess, Part, find
from recsys.init.objective import Objective
from recsys.init.plan import Plan
from recsys.init.sample import Sample
from recsys.yaml_text import parse

__all__ = ["Table", "flow", "transform_of", "write_document"]

_MANY = 100_000
"""Different values above which a category is hashed."""
_RARE = 1000
"""Different values above which a value must come twice to earn a row of its own."""
_SMALL = 100
_BUCKETS = 2**17
_WIDTH = 118
_PLAIN = re.compile(r"^[A-Za-z_][\w./-]*$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Table:
    """A file, and what its columns are taken for.

    Attributes:
        sample: Its rows.
        guesses: One a column.
        from_log: Whether there is no file: the columns stand in the log.
    """

    sample: Sample
    guesses: Sequence[Guess]
    from_log: bool = False

    def of(self, part: Part) -> list[Guess]:
        """The columns that play a part."""
        return [guess for guess in self.guesses if guess.part == part]


def flow(value: object) -> str:
    """A value on one line of YAML.

    Example:
        >>> flow({"kind": "dssm", "ks": [5, 10], "half life": None})
        '{kind: dssm, ks: [5, 10], "half life": null}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    # YAML wants a dot in 1e-05.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))


def transform_of(guess: Guess, rows: int) -> dict[str, Any]:
    """How a column becomes a model input, by its kind, the number of its values and how they lie.

    Numbers with a long tail become buckets of equal frequency, others are standardised.

    Args:
        guess: The column.
        rows: Of the whole table.
    """
    column = guess.profile
    match guess.kind:
        case "multi_categorical":
            return {"kind": "multi_categorical", **_min_count(column.members, rows)}
        case "numeric":
            return {"kind": "quantile", "buckets": 10} if _is_skewed(column.numbers) else {"kind": "standard"}
        case "timestamp":
            return {"kind": "time", "part": "month"}
        case _:
            return categorical(column.distinct_in(rows), rows)


def categorical(distinct: int, rows: int) -> dict[str, Any]:
    """The transform of a category of this many different values in that many rows."""
    if distinct > _MANY:
        return {"kind": "hashed", "buckets": _BUCKETS}
    return {"kind": "categorical", **_min_count(distinct, rows)}


def write_document(
    *,
    command: str,
    run: str,
    name: str,
    log: Table,
    users: Table | None,
    items: Table | None,
    objective: Objective,
    plan: Plan,
    max_reject_share: float | None,
) -> str:
    """The YAML.

    Args:
        command: How this file was made.
        run: How to run it.
        name: Of the pipeline.
        log: The events.
        users: The users table.
        items: The items table.
        objective: What is learnt.
        plan: Settings the log can feed.
        max_reject_share: Share of rows that may be rejected; `None` leaves the default.
    """
    lines = [
        f"# Run me: {_clean(run)}",
        "#",
        *_comment(f"Written by: {command}"),
        *_comment(
            "Every line is yours to change; what is left out has a default: `recsys config` prints all of it. "
            "`# guessed:` marks what names and values do not settle: look there first."
        ),
        "",
        f"name: {flow(name)}",
        f"workspace: {flow(f'workspace/{name}')}",
        "seed: 42",
        "",
        "data:",
        *_interactions(log),
    ]
    lines += _entity("users", "user_id", users) if users else []
    lines += _entity("items", "item_id", items) if items else []
    lines += [_line(2, "order", plan.order, None if plan.order != "none" else "the log has no time")]
    if max_reject_share is not None:
        why = "guessed: more than the default 1 % of the rows looked at lack a value they need, or repeat an id"
        lines.append(_line(2, "max_reject_share", max_reject_share, why))
    lines += ["", *_comment(f"Objective: {objective.kind}: {objective.why}.", 2)]
    if objective.label is None:
        lines.append("  # positive: {label: …, at_least: …}")
    else:
        positive = {"label": objective.label, "at_least": objective.at_least}
        lines.append(_line(2, "positive", positive, None if objective.sure else "guessed"))
    return "\n".join([*lines, "", *_features(log, users, items), "", *_plan(plan), ""])


def _interactions(log: Table) -> list[str]:
    lines = ["  interactions:", *_source(log.sample)]
    rows_only = find(log.guesses, "item_id") is None
    parts: list[Part] = ["user_id", "item_id", "timestamp", "request_id", "exposed", "position", "propensity"]
    for part in parts:
        guess = find(log.guesses, part)
        if guess is None:
            lines += [_line(4, part, None, "no column looks like a time")] if part == "timestamp" else []
            lines += (
                [_line(4, part, None, "rows are scored by themselves")] if rows_only and part.endswith("m_id") else []
            )
            lines += [_line(4, part, None)] if rows_only and part == "user_id" else []
            continue
        lines.append(_line(4, part, guess.column, _said(guess)))
        if part == "timestamp" and guess.profile.clock != "text":
            lines.append(_line(4, "timestamp_unit", guess.profile.clock))
        elif part == "timestamp" and guess.profile.form == "number":
            lines.append(_line(4, "timestamp_unit", "text", "days such as 20241231"))
    offset = find(log.guesses, "timestamp_offset")
    if offset is not None:
        value = {"column": offset.column, "unit": offset.unit}
        lines.append(_line(4, "timestamp_offset", value, _said(offset)))
    labels = log.of("label")
    if labels:
        said = "; ".join(f"{label.column}: {_said(label)}" for label in labels) if len(labels) > 1 else _said(labels[0])
        lines.append(_line(4, "labels", [label.column for label in labels], said))
    return lines + _columns("context", log.of("context")) + _left_out(log)


def _entity(key: str, part: Part, table: Table) -> list[str]:
    because = "no table of its own: these columns of the log are the same in the rows of one"
    source = [_line(4, "from", "interactions", f"guessed: {because} {key[:-1]}")]
    lines = [f"  {key}:", *(source if table.from_log else _source(table.sample))]
    lines += [_line(4, part, guess.column, _said(guess)) for guess in table.of(part)]
    lines += [_line(4, "title", guess.column, _said(guess)) for guess in table.of("title")]
    return lines + _columns("columns", table.of("feature")) + _left_out(table)


def _source(sample: Sample) -> list[str]:
    config = sample.config
    lines = [_line(4, "path", config.path, "; ".join(sample.remarks) or None)]
    lines += [_line(4, "format", config.format)] if config.format != "auto" else []
    for key in ("header", "delimiter", "quoting", "encoding", "decimal", "thousands"):
        value = getattr(config, key)
        if value != TableConfig.model_fields[key].default:
            why = sample.guessed.get(key)
            lines.append(_line(4, key, value, f"guessed: {why}" if why else None))
    return lines


def _columns(key: str, guesses: Sequence[Guess]) -> list[str]:
    if not guesses:
        return []
    lines = [f"    {key}:"]
    for guess in guesses:
        separator = guess.profile.separator
        kind: object = guess.kind
        if guess.kind == "multi_categorical" and separator is not None:
            kind = {"kind": guess.kind, "separator": separator}
        lines.append(_line(6, guess.column, kind, _said(guess)))
    return lines


def _left_out(table: Table) -> list[str]:
    lines = []
    for guess in table.of("left out"):
        lines += _comment(f"left out: {_text(guess.column)}: {guess.why}", 4)
    for name, why in table.sample.unusable.items():
        lines += _comment(f"left out: {_text(name)}: {why}", 4)
    return lines


def _features(log: Table, users: Table | None, items: Table | None) -> list[str]:
    item_id = find(log.guesses, "item_id")
    rows = log.sample.rows
    item = {"item_id": categorical(item_id.profile.distinct_in(rows), rows)} if item_id is not None else {}
    sides = {
        "user": _transforms(users, "feature"),
        "item": item | _transforms(items, "feature"),
        "context": _transforms(log, "context"),
    }
    lines = ["features:"]
    for side, transforms in sides.items():
        if transforms:
            lines += [f"  {side}:", *(_line(4, name, transform) for name, transform in transforms.items())]
    return lines


def _transforms(table: Table | None, part: Part) -> dict[str, Any]:
    if table is None:
        return {}
    return {guess.column: transform_of(guess, table.sample.rows) for guess in table.of(part)}


def _plan(plan: Plan) -> list[str]:
    lines = [*_comment(f"Split: {plan.why['split']}."), _line(0, "split", plan.split), ""]
    if not plan.routes:
        return [*lines, *_rows_plan(plan)]
    lines += [*_comment(f"Routes: {plan.why['routes']}."), "routes:"]
    lines += [_line(2, name, route) for name, route in plan.routes.items()]
    lines += ["", _line(0, "fusion", plan.fusion, plan.why["fusion"]), ""]
    lines += _comment(f"Ranking: {plan.why['ranking']}.")
    if plan.ranking is None:
        lines.append(_line(0, "ranking", None, "the fused list is the answer"))
    else:
        lines += ["ranking:", *(_line(2, key, value) for key, value in plan.ranking.items())]
    return [
        *lines,
        "",
        _line(0, "policy", plan.policy, plan.why["policy"]),
        _line(0, "refit", plan.refit, "before the test, routes learn from all that came before it"),
        _line(0, "evaluation", plan.evaluation),
    ]


def _rows_plan(plan: Plan) -> list[str]:
    """Of a pipeline that scores rows: no routes, a ranker."""
    ranking = plan.ranking or {}
    return [
        *_comment(f"Routes: {plan.why['routes']}."),
        _line(0, "routes", plan.routes),
        "",
        *_comment(f"Ranking: {plan.why['ranking']}."),
        "ranking:",
        *(_line(2, key, value) for key, value in ranking.items()),
    ]


def _line(indent: int, key: str, value: object, comment: str | None = None) -> str:
    """A key with its value, and a comment beside it where there is room, else above it."""
    start = f"{' ' * indent}{flow(key)}: {flow(value)}"
    if not comment:
        return start
    beside = f"{start}{' ' * max(44 - len(start), 2)}# {_clean(comment)}"
    return beside if len(beside) <= _WIDTH else "\n".join([*_comment(comment, indent), start])


def _comment(text: str, indent: int = 0) -> list[str]:
    """A comment, wrapped."""
    lines, line = [], ""
    for word in _clean(text).split(" "):
        if line and indent + 2 + len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [f"{' ' * indent}# {part}" for part in [*lines, line]]


def _said(guess: Guess) -> str:
    return guess.why if guess.sure else f"guessed: {guess.why}"


def _clean(text: str) -> str:
    """Without line breaks and other control characters, which would end a comment."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _text(text: str) -> str:
    """A scalar: plain where YAML reads it back as the same text, else quoted as in JSON."""
    if _PLAIN.match(text) and parse(text, "text").value == text:
        return text
    # YAML knows no pairs of surrogates: what is not printable is written by its code point.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _min_count(distinct: int, rows: int) -> dict[str, int]:
    """Values that come once teach nothing but themselves."""
    return {"min_count": 2} if distinct > _RARE or 3 * distinct > rows > _SMALL else {}


def _is_skewed(numbers: Iterable[float]) -> bool:
    """Whether one tail is much longer than the other."""
    low, middle, high = np.quantile(np.asarray(numbers), (0.02, 0.5, 0.98))
    left, right = middle - low, high - middle
    return bool(max(left, right) > 3 * min(left, right))
