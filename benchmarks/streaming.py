"""One epoch of DeepFM over a click log of 5 GB of Parquet: samples a second, peak memory, AUC.

Rows of 8 categories of 10 to 500,000 values with long tails and 17 normally distributed numbers, as int64 and float64,
which is how pandas writes them; in files of a million rows, groups of 100,000. Clicks are drawn from first-order terms
and three planted pairs. Embeddings of 8, a network of 128, 64, batches of 4096, Adam at 0.001, a buffer of 512 MB.

Each training has a process of its own, whose largest resident set is what counts. How much slower a stream is than
arrays in memory is measured on the first file, in turns, because the load of a machine changes: the buffer then holds a
fifth of the file. Times have the fit of the inputs in them, which is one more pass over the files. On a machine that
others use, processor time says more than the clock.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

GIGABYTES = 5.0
SIZES = (10, 100, 1000, 10_000, 50_000, 100_000, 200_000, 500_000)
NUMBERS, PAIRS = 17, ((0, 3), (1, 4), (2, 3))
FILE, GROUP, UNSEEN = 1_000_000, 100_000, 200_000
BATCH, BUFFER, ROUNDS = 4096, 512 << 20, 3
TARGET_GB = 3.0
VALID, CHANCE = "valid.parquet", "chance.npy"


def run(gigabytes: float = GIGABYTES) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        log = _write_log(folder, int(gigabytes * 1e9))
        written = time.perf_counter() - began
        found = _elsewhere("stream", folder, log)
        turns = [[_elsewhere(how, folder, log[:1]) for how in ("memory", "few")] for _ in range(ROUNDS)]

        def speeds(unit: str) -> list[float]:
            return [float(np.median([turn[place][unit] for turn in turns])) for place in (0, 1)]

        (memory, few), (memory_cpu, few_cpu) = speeds("samples_per_s"), speeds("samples_per_cpu_s")
        return {
            "unit": "samples/s",
            "ours": found["samples_per_s"],
            "in_memory": round(memory),
            "streamed_over_in_memory": round(few / memory, 2),
            "the_same_by_processor_time": round(few_cpu / memory_cpu, 2),
            "peak_gb": found["peak_gb"],
            "target": {"peak_gb": TARGET_GB, "streamed_over_in_memory": 0.7},
            "auc": found["auc"],
            "oracle_auc": found["oracle_auc"],
            "log": {
                "gigabytes": round(sum(path.stat().st_size for path in log) / 1e9, 2),
                "rows": found["rows"],
                "seconds_to_write": round(written),
                "seconds_to_train": found["seconds"],
            },
        }


def _write_log(folder: Path, size: int) -> list[Path]:
    """Files of so many bytes together, and what is asked afterwards."""
    rows, chance = _rows(np.random.default_rng(0), UNSEEN)
    pq.write_table(rows, folder / VALID)
    np.save(folder / CHANCE, chance)
    paths: list[Path] = []
    while sum(path.stat().st_size for path in paths) < size:
        rng = np.random.default_rng(1 + len(paths))
        paths.append(folder / f"{len(paths):03d}.parquet")
        categories = [f"{_side(n)}.c{n}" for n in range(len(SIZES))]
        with pq.ParquetWriter(paths[-1], rows.schema, use_dictionary=categories) as writer:
            for _ in range(FILE // GROUP):
                writer.write_table(_rows(rng, GROUP)[0])
    return paths


def _rows(rng: np.random.Generator, count: int) -> tuple[pa.Table, NDArray[np.float64]]:
    """Rows of the log, and the chance of each click, which nobody sees."""
    world = np.random.default_rng(0)
    tails = rng.standard_exponential((len(SIZES), count), dtype=np.float32)
    scaled = np.array(SIZES)[:, None] * np.expm1(tails / 1.1) / 50
    categories = np.minimum(scaled, np.array(SIZES)[:, None] - 1).astype(np.int64)
    numbers = rng.standard_normal((NUMBERS, count))
    logit = world.normal(0, 0.2, NUMBERS) @ numbers - 1.5
    for field, size in enumerate(SIZES):
        logit += world.normal(0, 0.3, size)[categories[field]]
    for first, second in PAIRS:
        one, other = world.normal(0, 0.25, (SIZES[first], 4)), world.normal(0, 0.25, (SIZES[second], 4))
        logit += 2 * (one[categories[first]] * other[categories[second]]).sum(axis=1)
    chance = 1 / (1 + np.exp(-logit))
    columns: dict[str, Any] = {f"{_side(n)}.c{n}": values + 2 for n, values in enumerate(categories)}
    columns |= {f"item.x{n}": values for n, values in enumerate(numbers)}
    return pa.table({**columns, "label": rng.random(count) < chance}), chance


def _side(field: int) -> str:
    return "item" if field % 2 else "user"


def _elsewhere(how: str, folder: Path, log: list[Path]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.streaming", how, str(folder), *map(str, log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _trained(how: str, folder: Path, log: list[Path]) -> dict[str, Any]:
    from recsys.features.batch import Field, InputSpec
    from recsys.losses.pointwise import bce
    from recsys.metrics.classification import auc
    from recsys.ranking.configs import DeepFMConfig
    from recsys.ranking.registry import build_ranker
    from recsys.training.batches import SampleSource
    from recsys.training.config import TrainingConfig
    from recsys.training.group_files import GroupColumns
    from recsys.training.stream import Stream
    from recsys.training.trainer import predict, seeded, train

    categories = [Field(f"{_side(n)}.c{n}", size + 2, 1, f"c{n}") for n, size in enumerate(SIZES)]
    spec = InputSpec((*categories, *(Field(f"item.x{n}", 0, 1, "") for n in range(NUMBERS))), 1)
    columns = GroupColumns(spec)
    buffer = BUFFER if how == "stream" else len(log) * FILE * columns.row_bytes(1) // 5
    samples: SampleSource = _arrays(log, spec) if how == "memory" else Stream(log, columns, BATCH, buffer=buffer)
    config = DeepFMConfig(kind="deepfm", embedding_dim=8, hidden=(128, 64), dropout=0, embedding_dropout=0)
    optimiser = {"kind": "adam", "learning_rate": 1e-3, "schedule": "constant"}
    training = TrainingConfig.model_validate({"epochs": 1, "batch_size": BATCH, "optimiser": optimiser})
    with seeded(0):
        model = build_ranker(config, spec)
    began, busy = time.perf_counter(), time.process_time()
    model.fit_inputs(samples)
    train(model, bce, samples, training, seed=0, log=lambda *_: None)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    labels = pq.read_table(folder / VALID, columns=["label"])["label"].to_numpy()
    rows = sum(pq.read_metadata(path).num_rows for path in log)
    return {
        "rows": rows,
        "seconds": round(seconds),
        "samples_per_s": round(rows / seconds),
        "samples_per_cpu_s": round(rows / busy),
        "auc": round(auc(labels, predict(model, Stream([folder / VALID], columns, BATCH))[:, 0]), 4),
        "oracle_auc": round(auc(labels, np.load(folder / CHANCE)), 4),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


def _arrays(log: list[Path], spec: Any) -> Any:  # noqa: ANN401
    from recsys.training.batches import Samples

    table = pa.concat_tables([pq.read_table(path) for path in log])
    inputs = {}
    for field in spec.fields:
        values = table[field.name].to_numpy().astype(np.int64 if field.is_index else np.float32)
        inputs[field.name] = values if field.side == "user" else values[:, None]
    labels = table["label"].to_numpy().astype(np.float32)[:, None]
    return Samples(inputs, labels, np.ones(labels.shape, dtype=bool), BATCH)


if __name__ == "__main__":
    print(json.dumps(_trained(sys.argv[1], Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])))
