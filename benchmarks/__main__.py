"""`python -m benchmarks [NAME …] [--json]`: runs benchmarks and prints what they measured."""

import argparse
import importlib
import json
import os
import platform
from typing import Any

BENCHMARKS = {
    "encoder": "benchmarks.encoder",
    "recommend": "benchmarks.recommend",
    "funnel": "benchmarks.funnel",
    "click": "benchmarks.click",
    "world": "benchmarks.world",
}
"""Name to module; each has `run() -> dict` with `ours`, and where there is one `target`."""


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
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; expected one of {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        found = {"name": name, **importlib.import_module(BENCHMARKS[name]).run(), "machine": machine()}
        print(json.dumps(found) if options.json else _text(found), flush=True)


def _text(found: dict[str, Any]) -> str:
    figures = [f"  {key}: {value}" for key, value in found.items() if key not in ("name", "machine")]
    about = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    return "\n".join([f"{found['name']}  ({about})", *figures])


if __name__ == "__main__":
    main()
