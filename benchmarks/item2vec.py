"""Words a second of skip-gram on two threads, and how many neighbours share the item's topic; gensim in turn.

Sessions walk locally through one of 200 topics of 100 items, every tenth item anywhere. `--peer-python` names an
interpreter that has gensim; both sides train on the same sessions with the same settings, three times in turn, and the
median counts. Compiling is reported apart, as the peer comes compiled.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.recall.word2vec.config import Word2VecSettings
from recsys.recall.word2vec.corpus import MemoryCorpus
from recsys.recall.word2vec.train import train_word2vec

SESSIONS, TOPICS, TOPIC_SIZE = 50_000, 200, 100
ITEMS = TOPICS * TOPIC_SIZE
ROUNDS = 3
LOSSES = {"negative_sampling": {"hs": 0, "negative": 5}, "hierarchical_softmax": {"hs": 1, "negative": 0}}
PEER = Path(__file__).with_name("item2vec_peer.py")


def run(peer_python: str | None = None) -> dict[str, Any]:
    corpus = _sessions(np.random.default_rng(0))
    found: dict[str, Any] = {"unit": "words/s", "words": len(corpus.tokens), "threads": 2, "compile_s": _warm()}
    rounds: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/tokens.npy", corpus.tokens)
        np.save(f"{folder}/offsets.npy", corpus.offsets)
        for number in range(ROUNDS):
            for loss in LOSSES:
                rounds.setdefault(f"ours {loss}", []).append(_ours(corpus, loss, number))
                if peer_python is not None:
                    rounds.setdefault(f"peer {loss}", []).append(_peer(peer_python, folder, loss, number))
    for side in ("ours", "peer") if peer_python is not None else ("ours",):
        medians = {loss: np.median(rounds[f"{side} {loss}"], axis=0) for loss in LOSSES}
        found[side] = {loss: round(float(speed)) for loss, (speed, _) in medians.items()}
        found[f"{side}_topic_hit@10"] = {loss: round(float(hit), 4) for loss, (_, hit) in medians.items()}
    if peer_python is not None:
        found["ratio"] = {loss: round(found["ours"][loss] / found["peer"][loss], 2) for loss in LOSSES}
        found["target"] = "ratio 2.5, topic hit within .005"
    return found


def _warm() -> float:
    """Seconds until the first step: compiled, or read from the cache."""
    began = time.perf_counter()
    tiny = MemoryCorpus(np.zeros(2, dtype=np.int32), np.array([0, 2]))
    train_word2vec(tiny, 1, _settings("negative_sampling", epochs=1), seed=0)
    return round(time.perf_counter() - began, 2)


def _settings(loss: str, epochs: int = 3) -> Word2VecSettings:
    return Word2VecSettings.model_validate({"loss": loss, "epochs": epochs, "threads": 2, "device": "cpu"})


def _ours(corpus: MemoryCorpus, loss: str, seed: int) -> tuple[float, float]:
    """Words a second, counting and tables included, and topic hit."""
    settings = _settings(loss)
    began = time.perf_counter()
    trained = train_word2vec(corpus, ITEMS, settings, seed=seed)
    seconds = time.perf_counter() - began
    return settings.epochs * len(corpus.tokens) / seconds, _topic_hit(trained.vectors)


def _peer(python: str, folder: str, loss: str, seed: int) -> tuple[float, float]:
    settings = _settings(loss)
    options = {
        "vector_size": settings.embedding_dim,
        "window": settings.window,
        "epochs": settings.epochs,
        "workers": settings.threads,
        "alpha": settings.learning_rate,
        "min_alpha": settings.min_learning_rate,
        "min_count": 1,
        "sample": 0,
        "sg": 1,
        "seed": seed,
        **LOSSES[loss],
    }
    command = [python, str(PEER), folder, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["words_per_s"], _topic_hit(np.load(f"{folder}/vectors.npy"))


def _sessions(rng: np.random.Generator) -> MemoryCorpus:
    """50 000 sessions of 10 to 59 items; steps of −3 to 3 around the ring of a topic, from a popular start."""
    lengths = rng.integers(10, 60, SESSIONS)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    popular = 1 / np.arange(1, TOPIC_SIZE + 1) ** 0.7
    starts = rng.choice(TOPIC_SIZE, SESSIONS, p=popular / popular.sum())
    walked = np.cumsum(rng.integers(-3, 4, offsets[-1]))
    before = np.concatenate([[0], walked])[offsets[:-1]]
    place = (walked + np.repeat(starts - before, lengths)) % TOPIC_SIZE
    items = np.repeat(rng.integers(0, TOPICS, SESSIONS), lengths) * TOPIC_SIZE + place
    items = np.where(rng.random(len(items)) < 0.1, rng.integers(0, ITEMS, len(items)), items)
    return MemoryCorpus(items.astype(np.int32), offsets)


def _topic_hit(vectors: NDArray[np.float32], k: int = 10) -> float:
    """Share of the ten nearest by cosine of 4000 items that are of the item's topic."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    asked = np.random.default_rng(1).choice(ITEMS, 4000, replace=False)
    scores = unit[asked] @ unit.T
    scores[np.arange(len(asked)), asked] = -np.inf
    near = np.argpartition(-scores, k, axis=1)[:, :k]
    return float((near // TOPIC_SIZE == asked[:, None] // TOPIC_SIZE).mean())
