"""`python -m benchmarks [NAME …] [--peer-python PATH] [--json]`: runs benchmarks and prints what they measured."""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any

BENCHMARKS = {
    "startup": "benchmarks.startup",
    "export": "benchmarks.export",
    "encoding": "benchmarks.encoding",
    "recommend": "benchmarks.recommend",
    "funnel": "benchmarks.funnel",
    "click": "benchmarks.click",
    "world": "benchmarks.world",
    "ranker_training": "benchmarks.ranker_training",
    "sequence_rankers": "benchmarks.sequence_rankers",
    "item2vec": "benchmarks.item2vec",
    "index": "benchmarks.index",
    "new_items": "benchmarks.new_items",
    "gowalla": "benchmarks.gowalla",
    "amazon_beauty": "benchmarks.amazon_beauty",
    "losses": "benchmarks.losses",
    "streaming": "benchmarks.streaming",
    "tasks": "benchmarks.tasks",
    "rankers": "benchmarks.rankers",
}
"""Name to module; each has `run() -> dict` with `ours`, and where there is one `target`."""

PEERED = ("item2vec", "ranker_training")
"""Those whose `run` takes `peer_python`: an interpreter that has the library to compare with."""

ON_DATA = ("gowalla", "amazon_beauty", "tasks")
"""Those whose `run` takes `data`, the folder of a data set that cannot be downloaded; without it they are left out."""

MORE_WITH_DATA = ("losses",)
"""Those whose `run` takes `data` for a part that is left out without it."""

WITH_MODEL = ("new_items",)
"""Those whose `run` takes `sentence_model`: the folder of a model for the `sentence` route, left out without it."""

SIZED = ("streaming",)
"""Those whose `run` takes `gigabytes` of data to make."""

TAKES_DATA = (*ON_DATA, *MORE_WITH_DATA)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--peer-python", metavar="PATH", help=f"an interpreter with the peer of {', '.join(PEERED)}")
    parser.add_argument("--data", metavar="FOLDER", type=Path, help=f"the files of one of {', '.join(TAKES_DATA)}")
    parser.add_argument("--sentence-model", metavar="FOLDER", type=Path, help=f"for {', '.join(WITH_MODEL)}")
    parser.add_argument("--gigabytes", metavar="N", type=float, default=5.0, help=f"size of {', '.join(SIZED)}")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; expected one of {', '.join(BENCHMARKS)}")
    if options.data is None and set(options.names) & set(ON_DATA):
        parser.error(f"{', '.join(sorted(set(options.names) & set(ON_DATA)))}: expected --data FOLDER")
    for name in options.names or [name for name in BENCHMARKS if name not in ON_DATA]:
        given = {"peer_python": options.peer_python} if name in PEERED else {}
        given |= {"data": options.data} if name in TAKES_DATA else {}
        given |= {"gigabytes": options.gigabytes} if name in SIZED else {}
        given |= {"sentence_model": options.sentence_model} if name in WITH_MODEL else {}
        found = {"name": name, **importlib.import_module(BENCHMARKS[name]).run(**given), "machine": machine()}
        print(json.dumps(found) if options.json else _text(found), flush=True)


def _text(found: dict[str, Any]) -> str:
    figures = [f"  {key}: {value}" for key, value in found.items() if key not in ("name", "machine")]
    about = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    return "\n".join([f"{found['name']}  ({about})", *figures])


if __name__ == "__main__":
    main()
