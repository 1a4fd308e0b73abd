"""The page about rankers and their losses."""

import re
from pathlib import Path

from recsys.losses.registry import LOSSES
from recsys.ranking.configs import TREES
from recsys.ranking.registry import RANKERS

PAGE = Path(__file__).parents[2] / "docs" / "ranking.md"


def kinds(section):
    """What stands in the first cell of the rows of a section."""
    text = PAGE.read_text(encoding="utf-8").split(f"# {section}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    return sorted(re.findall(r"\w+", " ".join(cells)))


def test_every_ranker_has_a_row_and_only_rankers_have():
    assert kinds("Rankers") == sorted([*RANKERS, *TREES])


def test_every_loss_has_a_row_and_only_losses_have():
    assert kinds("Losses") == sorted(LOSSES)
