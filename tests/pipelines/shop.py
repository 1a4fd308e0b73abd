"""A small shop's log on disk and the configuration that runs on it."""

import csv
from pathlib import Path

import numpy as np

USERS, ITEMS, STEPS = 30, 24, 20

CONFIG = """\
name: shop
workspace: workspace
seed: 3
data:
  interactions: {path: data/events.csv}
  users: {path: data/users.csv, columns: {age: numeric, town: categorical}}
  items:
    path: data/items.csv
    title: name
    columns: {name: text, price: numeric, tags: {kind: multi_categorical, separator: "|"}}
split: {kind: per_user, rank: 0.15, valid: 0.15, test: 0.15}
features:
  item: {item_id: {kind: categorical}, price: {kind: standard}, tags: {kind: multi_categorical}}
  history: {length: 8}
routes:
  popular: {kind: popular}
  itemcf: {kind: itemcf}
  dssm:
    {kind: dssm, embedding_dim: 4, hidden: [4], history_length: 5, training: {epochs: 1, batch_size: 64, threads: 1}}
fusion: {per_route: 15, candidates: 15}
ranking:
  model: {kind: deepfm, embedding_dim: 4, hidden: [8]}
  samples: {candidate_negatives: 10}
  training: {epochs: 2, batch_size: 16, threads: 1}
evaluation: {ks: [5, 10], bootstrap: 50}
tracking: {kind: none}
"""


def item_name(item: int) -> str:
    """Ids with spaces, quotes and other alphabets."""
    return f'товар "{item}" of shop'


def write_shop(folder: Path, *, unit: int = 1) -> None:
    """Writes `shop.yaml` and its three tables; users walk circles of eight items. `unit`: ticks of a second."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir(parents=True)
    events = []
    for user in range(USERS):
        start, circle = int(rng.integers(8)), 8 * (user % 3)
        for step in range(STEPS):
            lost = rng.random() < 0.2
            item = int(rng.integers(ITEMS)) if lost else circle + (start + step) % 8
            events.append([f"u {user}", item_name(item), (1_700_000_000 + step * 3600 + user) * unit])
    write(data / "events.csv", ["user_id", "item_id", "timestamp"], events)
    users = [[f"u {user}", int(rng.integers(18, 80)), ["Köln", "東京"][user % 2]] for user in range(USERS + 1)]
    write(data / "users.csv", ["user_id", "age", "town"], users)
    items = [[item_name(i), f"Thing {i}", float(i), ["a|b", "c", ""][i % 3]] for i in range(ITEMS)]
    write(data / "items.csv", ["item_id", "name", "price", "tags"], items)
    (folder / "shop.yaml").write_text(CONFIG, encoding="utf-8")


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    """Writes a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
