"""What serves runs in an interpreter that has no torch."""

import subprocess
import sys

import pytest

PACKAGES = ("data", "features", "retrieval", "scoring", "metrics", "bundle", "funnel", "serving", "evaluation")
MODULES = ("recsys.config", "recsys.recall.configs", "recsys.ranking.configs", "recsys.release.registry")

IMPORT = """
import importlib, importlib.abc, pkgutil, sys

BLOCKED = {"torch", "lightning", "pytorch_lightning", "mlflow", "ray", "dagster", "onnx", "onnxscript"}


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
package = importlib.import_module(sys.argv[1])
names = [m.name for m in pkgutil.walk_packages(getattr(package, "__path__", []), package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
print(len(names))
"""


@pytest.mark.parametrize("name", [*(f"recsys.{package}" for package in PACKAGES), *MODULES])
def test_imports_without_torch(name):
    done = subprocess.run([sys.executable, "-c", IMPORT, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert name in MODULES or int(done.stdout) > 0, f"{name} has no modules"


def test_the_blocker_blocks():
    done = subprocess.run([sys.executable, "-c", IMPORT, "torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in done.stderr
