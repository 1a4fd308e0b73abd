"""The page of routes knows every route, and its examples are configurations."""

import re
from pathlib import Path

import pytest

from recsys.config import Config
from recsys.recall.registry import ROUTES
from recsys.yaml_text import parse

PAGE = (Path(__file__).parents[2] / "docs" / "recall.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.+?) \|", PAGE.split("## ")[0], re.MULTILINE)
EXAMPLES = re.findall(r"^```yaml\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_route_has_a_row_and_only_routes_have():
    named = [kind for row in ROWS for kind in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(ROUTES)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_part_of_a_configuration(text):
    given = parse(text, "recall.md").value
    data = {**given.get("data", {}), "interactions": {"path": "events.csv"}}
    rest = {"name": "example", "workspace": "w", "split": {"kind": "per_user"}}
    config = Config.model_validate({**rest, **given, "data": data})
    assert set(config.routes) == set(given["routes"])


def test_there_are_examples():
    assert EXAMPLES
