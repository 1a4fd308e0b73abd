"""Notebooks are stored without outputs, and run from top to bottom in an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# What Jupyter does to code cells, without Jupyter: one namespace, in order. Then a cell of the test has its turn.
RUN = """
import json, sys
from pathlib import Path

names = {"__name__": "__main__"}
cells = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"]
for number, cell in enumerate(cells):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
exec(sys.argv[2], names)
"""

QUICKSTART = """
import matplotlib
figures = [plt.figure(number) for number in plt.get_fignums()]
print(json.dumps({
    "drawn": [sum(bool(axes.lines) for axes in figure.axes) for figure in figures],
    "events": len(log), "books": len(books),
    "ndcg": table["ndcg@10"].to_dict(),
    "top": [item.item_id for item in answer.items],
    "routes": [len(item.routes) for item in answer.items],
    "read": past.item_id.tolist(),
    "cached": [artifact.cached for artifact in again.artifacts.values()],
    "lost_at": [found.lost_at for found in explanations.values()],
    "new": [[item.item_id for item in found.items] for found in lists],
}))
"""

ROUTES = """
print(json.dumps({
    "drawn": [len(figure.axes) for figure in (curves, matrix, maps)],
    "adds": adds["adds NDCG@10"].to_dict(),
    "own": overlap.diagonal().tolist(),
    "recall": {name: metrics[f"route.{name}/recall@10"] for name in routes} | {"fusion": metrics["fusion/recall@10"]},
}))
"""

LOSSES = """
import json

figures = (areas, reliable, spread, gradient, focus, films, alike, few, level)
print(json.dumps({
    "drawn": [[axes.has_data() for axes in figure.axes] for figure in figures],
    "table": table.to_dict(),
    "lists": len(labels),
    "down": {name: share[name, -1][9] for name in LOSSES},
    "gain": {name: gain(quality[name], quality["bce"]) for name in LOSSES},
    "drop": {name: drop["AUC within lists", name] for name in without},
    "calibrated": calibrated,
}))
"""


def run(path, then, folder):
    """The last line that a notebook and what follows it print."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), then],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def test_the_quickstart_runs_and_says_what_its_text_says(tmp_path):
    found = json.loads(run(FOLDER / "01_quickstart.ipynb", QUICKSTART, tmp_path))
    assert (found["events"], found["books"]) == (20_000, 8 * 12 * 5)
    assert found["drawn"] == [1, 2, 1]
    ndcg = found["ndcg"]
    assert ndcg["route.popular"] < min(ndcg["route.ease"], ndcg["route.dssm"])
    assert max(ndcg["route.ease"], ndcg["route.dssm"]) < ndcg["route.itemcf"] < ndcg["funnel"]
    assert len(found["top"]) == 10
    assert min(found["routes"]) >= 1
    assert not set(found["top"]) & set(found["read"])
    assert all(found["cached"])
    assert found["lost_at"][0] is None
    assert found["lost_at"][1] is not None
    after_two_books, nothing_known = found["new"]
    assert after_two_books[0] == "fan-3-3"
    assert len(nothing_known) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["workspace"]


def test_all_notebooks_are_executed():
    assert [path.stem for path in NOTEBOOKS] == ["01_quickstart", "02_recall_routes", "03_ranking_losses"]


def test_the_routes_stand_side_by_side(tmp_path):
    found = json.loads(run(FOLDER / "02_recall_routes.ipynb", ROUTES, tmp_path))
    assert found["drawn"] == [1, 1, 3]
    assert found["own"] == pytest.approx([1] * 8)
    recall = found["recall"]
    assert min(recall, key=recall.get) == "popular"
    assert recall["fusion"] >= 0.95 * max(recall.values())
    assert max(found["adds"], key=found["adds"].get) == "itemcf"


def like_movielens(folder):
    """Tables of the same form, small: 100 users who watch what stands near the last film."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = []
    for user in range(100):
        films = list(dict.fromkeys(((rng.integers(300) + rng.normal(0, 12, 150).cumsum()) % 300).astype(int)))
        rows += [(user, film, 3, 1_000_000 * user + step) for step, film in enumerate(films)]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "timestamp"])
    log.to_csv(folder / "interactions.csv", index=False)
    films = [(film, f"Film {film}", 1950 + film // 5, ["Drama", "Comedy|War"][film % 2]) for film in range(300)]
    pd.DataFrame(films, columns=["item_id", "title", "release_year", "genres"]).to_csv(
        folder / "items.csv", index=False
    )


def test_the_losses_stand_side_by_side_whatever_the_films(tmp_path):
    like_movielens(tmp_path / "workspace" / "losses" / "data")
    found = json.loads(run(FOLDER / "03_ranking_losses.ipynb", LOSSES, tmp_path))
    assert [len(figure) for figure in found["drawn"]] == [2, 2, 8, 8, 2, 1, 2, 1, 2]
    assert all(all(figure) for figure in found["drawn"])
    assert found["down"]["lambdarank"] > found["down"]["ranknet"]


@pytest.mark.slow
@pytest.mark.network
def test_the_losses_do_to_films_what_the_text_says(tmp_path):
    found = json.loads(run(FOLDER / "03_ranking_losses.ipynb", LOSSES, tmp_path))
    assert found["lists"] == 905
    areas = found["table"]["AUC, all together"]
    assert areas["bce"] > areas["bce + lambdarank"] > max(areas[name] for name in areas if "bce" not in name)
    assert all(low <= 0 <= high for _, low, high in found["gain"].values())
    assert min(found["calibrated"], key=found["calibrated"].get) == "bce"
    assert max(found["down"], key=found["down"].get) == "lambdarank"
    assert found["drop"]["bce"][2] < 0
    assert all(low <= 0 <= high for name, (_, low, high) in found["drop"].items() if name != "bce")
