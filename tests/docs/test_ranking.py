"""The page about rankers."""

import re
from pathlib import Path

from recsys.ranking.configs import TREES
from recsys.ranking.registry import RANKERS

PAGE = Path(__file__).parents[2] / "docs" / "ranking.md"


def test_every_ranker_has_a_row_and_only_rankers_have():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted([*RANKERS, *TREES])
