"""The page about rankers and their losses."""

import re
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.losses.registry import LOSSES
from recsys.metrics.classification import auc
from recsys.ranking.configs import TREES
from recsys.ranking.registry import RANKERS

PAGE = (Path(__file__).parents[2] / "docs" / "ranking.md").read_text(encoding="utf-8")


def kinds(section):
    """What stands in the first cell of the rows of a section."""
    text = PAGE.split(f"# {section}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    return sorted(re.findall(r"\w+", " ".join(cells)))


def test_every_ranker_has_a_row_and_only_rankers_have():
    assert kinds("Rankers") == sorted([*RANKERS, *TREES])


def test_every_loss_has_a_row_and_only_losses_have():
    assert kinds("Losses") == sorted(LOSSES)


def test_the_example_trains_on_a_log_of_categories_and_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    site, device, price = rng.integers(0, 300, 16_000), rng.integers(0, 4, 16_000), rng.lognormal(2, 1, 16_000)
    chance = 1 / (1 + np.exp(-(2 * (site % 2) - 1 + (device == 3) - np.log(price) + 2)))
    click = rng.random(16_000) < chance
    columns = {"site": [f"s{n}.example" for n in site], "device": [f"d{n}" for n in device], "price": price}
    pq.write_table(pa.table({**columns, "click": click}), "clicks.parquet", row_group_size=2000)
    (example,) = re.findall(r"^```python\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
    # The log is 25 bytes a row: the buffer holds a third of it.
    smaller = example.replace("batch_size=4096", "batch_size=32").replace("512 << 20", "5000 * 25")
    Path("example.py").write_text(smaller, encoding="utf-8")
    found = runpy.run_path("example.py")
    assert auc(click, found["scores"][:, 0]) > auc(click, chance) - 0.02
