"""The configuration that comes with a simulated world: it runs as it is."""

import json
import re
from itertools import pairwise
from pathlib import Path

from recsys.data.synthetic.world import World

__all__ = ["pipeline_config"]


def pipeline_config(world: World, folder: Path) -> str:
    """YAML for `recsys run`, with paths as `folder` has them.

    The last day is the test, the day before chooses settings, and some before that teach fusion and the ranker.

    Args:
        world: of the data.
        folder: where it will lie.
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.name.lower()).strip("-_")[:64]
    name = name if name[:1].isalpha() else f"synth-{name}".rstrip("-")[:64]
    where = {
        part: json.dumps((folder / part).as_posix()) for part in ("interactions", "users.parquet", "items.parquet")
    }
    text = _TEMPLATE
    for key, value in {
        "@CONFIG@": (folder / "config.yaml").as_posix(),
        "@NAME@": name,
        "@SEED@": str(world.seed),
        "@INTERACTIONS@": where["interactions"],
        "@USERS@": where["users.parquet"],
        "@ITEMS@": where["items.parquet"],
        "@FOLDER@": json.dumps(folder.as_posix()),
        "@SPLIT@": _split(world),
        "@ORACLE@": json.dumps(folder.as_posix()),
        "@BATCH@": str(64 if world.events >= 300_000 else 16),
    }.items():
        text = text.replace(key, value)
    return text


def _split(world: World) -> str:
    days = world.days
    if days < 4:
        return "split: {kind: per_user, rank: 0.1, valid: 0.1, test: 0.1}       # too few days to cut between them"
    rank_from = days - 2 - max(1, days // 10)
    cuts = [world.events_before(day) for day in (rank_from, days - 2, days - 1, days)]
    # Shares round down, and a cut inside a request moves to its beginning.
    rank, valid, test = (f"{(after - before) / world.events:.9f}" for before, after in pairwise(cuts))
    return f"split: {{kind: global_time, rank: {rank}, valid: {valid}, test: {test}}}"


_TEMPLATE = """\
# Run me: recsys run @CONFIG@
#
# A simulated world, so the best possible answer is known: see oracle/ beside this file, and docs/simulated-world.md
# for what is true of it and which model can see it. Paths are relative to where `recsys data synth` ran.

name: @NAME@
workspace: workspace/@NAME@
seed: @SEED@

data:
  interactions:                          # a row for each item shown
    path: @INTERACTIONS@
    labels: [click, like, order_value]
    context: {device: categorical}
    request_id: request_id
    exposed: exposed
    position: position
    propensity: propensity
  users:
    path: @USERS@
    columns: {age: numeric, age_bucket: categorical, country: categorical, segment: categorical}
  items:
    path: @ITEMS@
    title: title
    columns: {title: text, category: multi_categorical, price: numeric}
  positive: {label: click, at_least: 1}

# Cut between days: the last one is the test, and the oracle's preferences are those of its beginning.
@SPLIT@

features:
  user:
    age_bucket: {kind: categorical}
    country: {kind: categorical}
    segment: {kind: categorical}
  item:
    item_id: {kind: categorical, min_count: 5}
    category: {kind: multi_categorical, max_length: 2}
    price: {kind: quantile, buckets: 10}
  context:
    device: {kind: categorical}
  history: {length: 20, fields: [item_id, category]}

routes:
  popular: {kind: popular, half_life_days: 7}
  itemcf: {kind: itemcf}
  dssm: {kind: dssm, min_history: 1, training: {threads: 1}}

ranking:
  model: {kind: deepfm, embedding_dim: 8, hidden: [64, 32]}
  # The rows themselves (kind: events) would teach what is clicked among the few items that were shown; asked about a
  # whole catalogue, such a ranker trusts what it has never seen too much.
  samples: {kind: candidates, candidate_negatives: 50}
  loss: bce
  training:
    epochs: 8
    batch_size: @BATCH@
    threads: 1
    patience: 0
    optimiser: {learning_rate: 0.005, embedding_weight_decay: 0.001}

policy: {exclude_seen: never}            # here an item can be clicked again
refit: recall

evaluation: {oracle: @ORACLE@}           # lists are also judged by what users would really click
"""
