"""Processor time of commands before they do anything, as a ratio to `python -c "import numpy"`: the least of five runs.

`status` is of the demo, once it has run: what a file imports is remembered from one command to the next.
"""

import subprocess
import sys
from typing import Any

from benchmarks.funnel import CONFIG, demo_workspace
from benchmarks.processor import processor_seconds

ROUNDS = 5


def run() -> dict[str, Any]:
    demo_workspace(CONFIG)
    commands = {
        "numpy": ["-c", "import numpy"],
        "help": ["-m", "recsys", "--help"],
        "status": ["-m", "recsys", "status", CONFIG],
    }
    seconds = {name: min(_measured(command) for _ in range(ROUNDS)) for name, command in commands.items()}
    return {
        "ours": round(seconds["help"] / seconds["numpy"], 2),
        "unit": "× import numpy, recsys --help",
        "target": 2,
        "status": round(seconds["status"] / seconds["numpy"], 2),
        "status_target": 5,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def _measured(command: list[str]) -> float:
    return processor_seconds(lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL))
