"""Prints the requirements of pyproject.toml, so that they can be installed before the code is there.

python docker/requirements.py pyproject.toml train,cpu
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["requirements"]


def requirements(pyproject: Path, extras: Sequence[str]) -> list[str]:
    """What the project and its extras need, as written there.

    Raises:
        KeyError: there is no such extra.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2].split(","))))
