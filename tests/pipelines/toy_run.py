"""A run of small stages in a process of its own, to be killed: `python toy_run.py WORKSPACE`."""

import sys
import time
from pathlib import Path

from pipelines.graph import execute
from pipelines.stage import Stage, StageContext


def work(context: StageContext) -> dict[str, float]:
    """Writes files slowly enough to be interrupted between and within them."""
    before = b"".join(path.read_bytes() for folder in context.inputs.values() for path in sorted(folder.glob("*.bin")))
    for number in range(4):
        with (context.folder / f"{number}.bin").open("wb") as file:
            for _ in range(8):
                file.write(bytes([number, context.seed, len(before) % 251]) * 500)
                file.flush()
                time.sleep(0.0005)
    return {"bytes": float(len(before))}


def stages() -> list[Stage]:
    """A chain with a fork in it."""
    return [
        Stage("a", work, seed=1),
        Stage("b.one", work, inputs=("a",), seed=2),
        Stage("b.two", work, inputs=("a",), seed=3),
        Stage("c", work, inputs=("b.one", "b.two"), seed=4),
    ]


if __name__ == "__main__":
    print("ready", flush=True)
    execute(stages(), Path(sys.argv[1]))
    print("done", flush=True)
