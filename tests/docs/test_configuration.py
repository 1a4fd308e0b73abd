"""The generated page is that of the models, and says something of every key."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference():
    return runpy.run_path(str(DOCS / "reference.py"))


def test_the_page_is_up_to_date(reference):
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference["page"](), "run `make docs`"


def test_every_key_says_what_it_means(reference):
    rows = [line.split(" | ") for line in reference["page"]().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []


def test_every_kind_of_route_and_ranker_has_its_section(reference):
    from recsys.ranking.configs import TREES
    from recsys.ranking.registry import RANKERS
    from recsys.recall.registry import ROUTES

    found = set(re.findall(r"^#+ `([^`]+)`, `kind: (\w+)`$", reference["page"](), re.MULTILINE))
    assert {kind for path, kind in found if path == "routes.<name>"} == set(ROUTES)
    assert {kind for path, kind in found if path == "ranking.model"} == {*RANKERS, *TREES}
