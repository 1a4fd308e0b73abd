import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from recsys.evaluation import plots
from recsys.evaluation.plots import draw
from recsys.evaluation.report import write_report
from recsys.evaluation.results import (
    Comparison,
    Decisions,
    FunnelEvaluation,
    LossAttribution,
    RowMetrics,
    SliceRow,
    SliceTable,
    StageResult,
    TruthResult,
)
from recsys.evaluation.slices import HISTORY_SLICES, POPULARITY_SLICES, history_slice, popularity_slice
from recsys.evaluation.text import render_text, verdict
from recsys.metrics.bootstrap import Interval

PROTOCOL = "global time cut: causal across users"
KS = (5, 10, 50, 100)
STAGES = {"route.popular": 0.4, "route.a-route-with-quite-a-long-name": 0.9, "fusion": 1.0, "funnel": 1.2}


def stage(name, level):
    def at(k):
        value = level * k / 1000
        return Interval(value, value * 0.9, value * 1.1)

    metrics = {metric: {k: at(k) for k in KS} for metric in ("ndcg", "recall", "hit_rate", "mrr", "map")}
    return StageResult(name, metrics, coverage=0.25 * level, gini=0.5)


def comparison(mean, low, high):
    return Comparison("fusion", "ndcg", 10, Interval(mean, low, high))


def slices(key, title, counted, metric, names):
    return SliceTable(key, title, counted, metric, tuple(SliceRow(name, 7, dict(STAGES)) for name in names))


DECISIONS = Decisions(threshold=0.125, precision=0.6, recall=0.3)


@pytest.fixture
def evaluation():
    """Figures made up so that each is easy to recognise: a metric at k is level × k / 1000."""
    return FunnelEvaluation(
        requests=1234,
        positives=5678,
        items=999,
        ks=KS,
        resamples=1000,
        stages=tuple(stage(*item) for item in STAGES.items()),
        best_route="route.a-route-with-quite-a-long-name",
        comparisons=(comparison(0.03, 0.02, 0.04),),
        loss=LossAttribution(k=10, found=0.2, ranking=0.5, recall=0.3, no_room=0.1),
        ranker=RowMetrics(
            "candidates of the test requests", 4000, 300, 0.81, 0.77, 0.25, 0.03, Decisions(0.125, 0.6, 0.3)
        ),
        slices=(
            slices("history", "history length", "requests", "NDCG@10", HISTORY_SLICES),
            slices("popularity", "popularity of the positive", "positives", "Recall@10", POPULARITY_SLICES),
        ),
        codes=np.zeros((2, 3), np.int32),
        scores=np.zeros((2, 3), np.float32),
    )


class Page(HTMLParser):
    """What a page holds: every tag with its attributes, and captions."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def write(evaluation, folder, **more):
    figures = write_report(evaluation, folder, title="shop <b>&", protocol=PROTOCOL, **more)
    return figures, (folder / "report.txt").read_text(), (folder / "report.html").read_text()


def test_metrics_json_holds_every_figure(evaluation, tmp_path):
    headline, _, _ = write(evaluation, tmp_path)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures == pytest.approx(evaluation.flat())
    assert figures["funnel/ndcg@10"] == pytest.approx(1.2 * 10 / 1000)
    assert figures["funnel/ndcg@10/low"] == pytest.approx(1.2 * 10 / 1000 * 0.9)
    assert figures["slice/history=10-49/funnel/ndcg@10"] == 1.2
    assert headline.items() <= evaluation.flat().items()
    assert headline["funnel/recall@100"] == pytest.approx(0.12)
    assert len(headline) < 50


def test_a_figure_that_does_not_exist_is_left_out(evaluation, tmp_path):
    ranker = replace(evaluation.ranker, gauc=float("nan"))
    figures, text, _ = write(replace(evaluation, ranker=ranker), tmp_path)
    assert "ranker/auc" in figures
    assert "ranker/gauc" not in figures
    assert "GAUC n/a" in text


def test_text_says_everything_within_100_columns(evaluation, tmp_path):
    _, text, _ = write(evaluation, tmp_path, notes=["Refit on everything before the test window."])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[:3] == [
        "shop <b>&",
        "1,234 test requests, 5,678 positives, 999 items; every list from the whole catalogue",
        f"Protocol: {PROTOCOL}",
    ]
    header = next(line for line in lines if line.startswith("stage"))
    assert header.split() == [
        "stage",
        *("NDCG@10", "Recall@10", "HitRate@10", "MRR@10", "MAP@10"),
        *("Recall@50", "Recall@100"),
    ]
    funnel = next(line for line in lines if line.startswith("funnel"))
    assert funnel.split() == ["funnel", *["0.0120"] * 5, "0.0600", "0.1200"]
    for expected in (
        "Ranker: AUC 0.8100, GAUC 0.7700 over 4,000 candidates of the test requests",
        "Ranker: log loss 0.2500, calibration error 0.0300",
        "Ranker: from probability 0.1250 on, precision 0.6000, recall 0.3000, F1 0.4000",
        "Positives: 20.0% in the top 10, 50.0% lost at ranking (no room for 10.0%), 30.0% lost at recall",
        "NDCG@10 against fusion: +0.0300 [+0.0200, +0.0400], better: the interval excludes 0",
        "Coverage@10 30.0% of the catalogue, Gini@10 0.500",
        "95 % intervals from 1,000 bootstrap resamples of the requests",
        "Refit on everything before the test window.",
    ):
        assert expected in lines
    assert "route.a-route-with-quit…" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (comparison(0.03, 0.02, 0.04), "better: the interval excludes 0"),
        (comparison(-0.03, -0.04, -0.02), "worse: the interval excludes 0"),
        (comparison(0.01, -0.01, 0.03), "no clear difference: the interval includes 0"),
    ],
)
def test_a_difference_is_told_from_chance(value, expected):
    assert verdict(value) == expected


def test_without_a_ranker_the_text_says_nothing_of_one(evaluation):
    text = render_text(replace(evaluation, ranker=None), title="t", protocol=PROTOCOL)
    assert "Ranker" not in text


def test_what_is_true_is_told_where_it_is_known(evaluation, tmp_path):
    shares = {name: Interval(level / 2, level / 2 - 0.1, level / 2 + 0.1) for name, level in STAGES.items()}
    known = replace(evaluation, truth=TruthResult(shares, Interval(0.0625, 0.0612, 0.0638)))
    figures = write_report(known, tmp_path, title="shop", protocol=PROTOCOL)
    assert (figures["funnel/true_ndcg@10"], figures["funnel/true_ndcg@10/low"]) == (0.6, 0.5)
    assert figures["funnel/regret@10"] == 0.0625
    regret = "Regret@10: a place in the funnel's list gets 0.0625 [0.0612, 0.0638] fewer clicks than in the best"
    text = (tmp_path / "report.txt").read_text()
    assert regret in text
    assert re.search(r"^funnel +0\.6000 +0\.5000 to 0\.7000$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100
    page = (tmp_path / "report.html").read_text()
    assert "True NDCG@10" in page
    assert "fewer clicks than in the best" in page


def test_the_page_needs_nothing_and_runs_nothing(evaluation, tmp_path):
    _, _, page = write(evaluation, tmp_path)
    parsed = Page(page)
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in parsed.tags}
    attributes = [(name, value or "") for _, found in parsed.tags for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert not [v for n, v in attributes if n in ("src", "href", "xlink:href") and not v.startswith("#")]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_page_can_be_read_without_seeing_it(evaluation, tmp_path):
    _, _, page = write(evaluation, tmp_path)
    parsed = Page(page)
    assert parsed.count("table") == parsed.count("caption") == 4
    assert parsed.count("figure") == parsed.count("figcaption") == parsed.count("svg") == 5
    drawings = [found for tag, found in parsed.tags if tag == "svg"]
    assert all(found["role"] == "img" and len(found["aria-label"]) > 20 for found in drawings)
    assert all(found["scope"] in ("col", "row") for tag, found in parsed.tags if tag == "th")
    assert ("html", {"lang": "en"}) in parsed.tags


def test_the_page_escapes_what_it_is_given(evaluation, tmp_path):
    _, _, page = write(evaluation, tmp_path, notes=["<script>alert(1)</script>"])
    assert "<h1>shop &lt;b&gt;&amp;</h1>" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_ids_of_the_figures_do_not_meet_on_the_page(evaluation, tmp_path):
    _, _, page = write(evaluation, tmp_path)
    drawn = [ElementTree.fromstring(plot.svg) for plot in draw(evaluation)]
    masks = [{e.get("id") for e in svg.iter() if e.tag.endswith("clipPath")} for svg in drawn]
    assert sum(map(len, masks)) == len(set().union(*masks))
    assert "#1b2228" not in page.partition("</style>")[2], "text in figures takes the colour of the page"


def test_the_same_evaluation_gives_the_same_bytes(evaluation, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(evaluation, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        *("metrics.json", "plots/loss.png", "plots/metrics.png", "plots/recall.png"),
        *("plots/slices-history.png", "plots/slices-popularity.png", "report.html", "report.txt"),
    ]
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_without_matplotlib_the_report_is_written_and_says_so(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    _, _, page = write(evaluation, tmp_path)
    assert "No figures: matplotlib is not installed; pip install &#x27;recsys[train]&#x27; draws them." in page
    assert not (tmp_path / "plots").exists()
    assert Page(page).count("table") == 4


def test_importing_the_evaluation_loads_no_training_library():
    code = (
        "import sys; import recsys.evaluation.report, recsys.evaluation.funnel_metrics, recsys.evaluation.lists; "
        "print(sorted({'matplotlib', 'torch', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_labels_of_lines_that_end_together_move_apart():
    places = plots._spread([0.10, 0.101, 0.102, 0.5], gap=0.03)
    assert (np.diff(places) >= 0.03 - 1e-12).all()
    assert places[3] == pytest.approx(0.5), "a line that ends alone keeps its place"
    assert np.mean(places[:3]) == pytest.approx(np.mean([0.10, 0.101, 0.102])), "a crowd stays where it belongs"


def test_a_slice_holds_each_history_and_item_once():
    assert [HISTORY_SLICES[i] for i in history_slice(np.array([0, 1, 9, 10, 49, 50, 199, 200, 10**6]))] == [
        *("0", "1-9", "1-9", "10-49", "10-49", "50-199", "50-199", "200+", "200+"),
    ]
    popularity = np.array([1.0] * 100)
    assert np.bincount(popularity_slice(popularity)).tolist() == [10, 40, 50]
    assert POPULARITY_SLICES[popularity_slice(np.zeros(3))[0]] == "tail", "what nobody touched is tail"
    assert popularity_slice(np.array([])).tolist() == []


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_one_list_length_one_route_and_nothing_found_still_draw(evaluation, tmp_path, level):
    def alone(name):
        metrics = {
            metric: {10: Interval(level, level, level)} for metric in ("ndcg", "recall", "hit_rate", "mrr", "map")
        }
        return StageResult(name, metrics, coverage=0.0, gini=0.5)

    small = replace(
        evaluation,
        ks=(10,),
        stages=(alone("route.only"), alone("fusion"), alone("funnel")),
        best_route="route.only",
        slices=(),
        loss=LossAttribution(k=10, found=level, ranking=0.0, recall=1 - level, no_room=0.0),
    )
    _, text, _ = write(small, tmp_path)
    assert "Recall@50" not in text
