"""Every message the page quotes is one the sources still print, and messages that are printed lead to the page."""

import ast
import re
from pathlib import Path

import pytest

from recsys.cli import run_command

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = "\0"
QUOTED = re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def _text(node):
    """A string expression with a hole for everything that is filled in; `None` for what is no string."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or HOLE for part in parts)
        case ast.BinOp(op=ast.Add(), left=left, right=right) if _text(left) or _text(right):
            return (_text(left) or HOLE) + (_text(right) or HOLE)
    return None


@pytest.fixture(scope="module")
def templates():
    """Every text of the sources but docstrings."""
    files = [path for package in ("recsys", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return {text for node in nodes if id(node) not in docstrings and (text := _text(node))}


def _fragments(quoted):
    """What stands between the gaps of a quoted message, without the punctuation that joins two messages."""
    parts = [part.strip(" :;,") for part in quoted.split("…")]
    return [part for part in parts if re.search(r"\w", part)]


def _holds(template, fragments):
    """Whether the fragments stand in a template in this order, none across a hole."""
    return re.search(".*".join(map(re.escape, fragments)), template, re.DOTALL) is not None


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_in_the_sources(templates, quoted):
    fragments = _fragments(quoted)
    assert sum(map(len, fragments)) >= 10
    assert any(_holds(template, fragments) for template in templates), f"no source says {fragments}"


def test_the_page_is_about_many_messages_and_each_once():
    assert len(QUOTED) >= 40
    assert len(set(QUOTED)) == len(QUOTED)


def test_every_message_says_what_to_do():
    sections = re.split(r"^### .+$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert [text for text in sections if len(text.split("\n## ")[0].split()) < 10] == []


def test_a_changed_message_would_be_noticed(templates):
    assert not any(_holds(template, ["copy the bundle once more"]) for template in templates)
    assert not _holds(f"found {HOLE}, expected {HOLE}", ["expected", "found"])


BROKEN = {
    "typo": ("name: x\nworkspace: w\nspilt: {kind: random}", "unknown key; did you mean …?"),
    "missing": ("name: x", "required, but missing"),
    "yaml": ("name: [", "not valid YAML: …"),
    "file": (
        "name: x\nworkspace: w\ndata: {interactions: {path: no.csv}}\nsplit: {kind: per_user}\n"
        "routes: {popular: {kind: popular}}\ntracking: {kind: none}",
        "found no such file, expected a file, a folder of files or a pattern",
    ),
    "column": (
        "name: x\nworkspace: w\ndata: {interactions: {path: log.csv}}\nsplit: {kind: per_user}\n"
        "routes: {popular: {kind: popular}}\ntracking: {kind: none}",
        ": found only ",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_printed_message_leads_to_a_heading(name, tmp_path, monkeypatch, capsys):
    text, words = BROKEN[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "log.csv").write_text("user,item,time\n1,2,3\n", encoding="utf-8")
    assert run_command(["run", "x.yaml"]) == 2
    printed = capsys.readouterr().err
    headings = [quoted for quoted in QUOTED if words in quoted]
    assert len(headings) == 1
    assert _holds(printed, _fragments(headings[0]))
