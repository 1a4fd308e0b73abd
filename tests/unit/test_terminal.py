"""What is printed: readable, and safe whatever the titles hold."""

import pytest

from recsys.funnel.requests import Recommendation, Response
from recsys.terminal import DownloadDisplay, duration, print_recommendations, print_table, printable


def test_control_characters_never_reach_the_screen():
    assert printable("a\x1b[2Jb\nc") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    assert printable("Amélie [1] 東京") == "Amélie [1] 東京"


def test_durations_read_well():
    assert [duration(0.5), duration(9.994), duration(59.94), duration(60), duration(3601)] == [
        "0.50 s",
        "9.99 s",
        "59.9 s",
        "1 min 00 s",
        "60 min 01 s",
    ]


def test_recommendations_show_title_score_and_routes(capsys):
    items = (
        Recommendation("50", "Star Wars [1977]", 1, 2.5, {"popular": 2, "itemcf": 1}),
        Recommendation("x y", None, 2, -0.125, {}),
    )
    print_recommendations(Response(items, known_user=True), explain=True)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        "rank item title score found by",
        "1 50 Star Wars [1977] 2.5000 itemcf #1, popular #2",
        "2 x y -0.1250 —",
    ]
    print_recommendations(Response(items[:1], known_user=True), explain=False)
    out = capsys.readouterr().out
    assert "popular" not in out
    assert "probability" not in out


@pytest.mark.parametrize(
    ("told", "shown"), [(0.25, "0.2500"), ({"click": 0.25, "buy": 0.01}, "click 0.2500, buy 0.0100")]
)
def test_recommendations_show_probabilities_where_there_are_any(capsys, told, shown):
    items = (Recommendation("50", "Heat", 1, 2.5, probability=told),)
    print_recommendations(Response(items, known_user=True), explain=False)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows == ["rank item title score probability", f"1 50 Heat 2.5000 {shown}"]


def test_long_cells_are_folded_not_cut(capsys):
    print_table(["id"], [["x" * 300]])
    assert capsys.readouterr().out.count("x") == 300


def test_a_download_can_be_shown(capsys):
    with DownloadDisplay() as display:
        display("file [1]", 10, None)
        display("file [1]", 20, 20)
    assert capsys.readouterr().out == ""
