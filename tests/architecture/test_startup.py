"""Commands import what they need and no more: libraries that take long to import are what a user waits for."""

import json
import subprocess
import sys

import pytest

NUMERICAL = {"faiss", "fastapi", "lightgbm", "matplotlib", "mlflow", "numba", "numpy", "onnx", "onnxruntime"}
NUMERICAL |= {"pandas", "pyarrow", "pytorch_lightning", "scipy", "sklearn", "torch"}

SHOP = """
name: shop
workspace: workspace
data: {interactions: {path: events.csv, timestamp: time}, items: {path: items.csv, columns: {genre: categorical}}}
split: {kind: per_user}
features: {item: {item_id: {kind: categorical}}, history: {length: 5, fields: [item_id]}}
routes: {popular: {kind: popular}, cf: {kind: itemcf}, towers: {kind: dssm}}
ranking: {model: {kind: deepfm}}
"""

RUN = """
import json, sys
from recsys.cli import run_command
try:
    code = run_command(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(json.dumps([code or 0, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], NUMERICAL | {"pydantic", "rich", "yaml"}),
        (["run", "--help"], NUMERICAL | {"rich", "yaml"}),
        (["--version"], NUMERICAL | {"pydantic", "rich", "yaml"}),
        (["config", "shop.yaml"], NUMERICAL),
        (["status", "shop.yaml"], NUMERICAL),
        (["gc", "shop.yaml", "--dry-run"], NUMERICAL),
        (["models", "shop.yaml"], NUMERICAL),
    ],
)
def test_a_command_that_computes_nothing_imports_no_library_that_does(arguments, unwanted, tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP)
    for name in ("events.csv", "items.csv"):
        (tmp_path / name).write_text("user_id,item_id,time\n")
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    code, imported = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert not unwanted & set(imported)
    assert "recsys" in imported
