"""Items by the vectors a pretrained sentence-transformers model gives their texts (Reimers & Gurevych 2019)."""

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import InputError
from recsys.features.batch import Floats
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.cosine import by_cosine
from recsys.recall.settings.content import SentenceConfig
from recsys.recall.text import item_texts
from recsys.retrieval.base import Retriever

__all__ = ["check_model", "fit"]

_TOGETHER = 4096
"""Texts between two lines of progress."""
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
"""Files of weights that run code when they are read."""

_READ_FIRST = ("model.safetensors", "model.safetensors.index.json")
"""Weights that the libraries take before pickled ones."""

_Encode = Callable[[list[str]], Floats]


def fit(config: SentenceConfig, data: TrainingData, context: FitContext) -> Retriever:
    """The model is used here alone: what is served are vectors. Each different text is encoded once.

    Takes memory for the model, a batch, and 3 · N · D numbers. Nothing is downloaded, and no code of the model is run.

    Raises:
        DataError: see `recsys.recall.text.item_texts`.
        InputError: the folder holds no model that can be read safely, or sentence-transformers is not installed.
    """
    texts = item_texts(data, config.columns, kind="sentence")
    check_model(Path(config.model))
    rows = {text: row for row, text in enumerate(dict.fromkeys(text for text in texts if text))}
    encoded = _encoded(list(rows), config, context)
    # Items that say nothing take the last row, of zeros.
    vectors = encoded[[rows.get(text, -1) for text in texts]]
    del encoded
    return by_cosine(vectors, config, data, context)


def _encoded(texts: list[str], config: SentenceConfig, context: FitContext) -> Floats:
    """`(texts + 1, D)` float32 vectors of the texts, and zeros."""
    encode = _model(config)
    table = np.zeros((0, 0), dtype=np.float32)
    for start in range(0, len(texts), _TOGETHER):
        block = encode([config.prompt + text for text in texts[start : start + _TOGETHER]])
        if not np.isfinite(block).all():
            raise InputError(f"{config.model}: the model gives vectors that are not finite; use another model")
        if not start:
            table = np.zeros((len(texts) + 1, block.shape[1]), dtype=np.float32)
        table[start : start + len(block)] = block
        context.say(f"sentence: {start + len(block):,} of {len(texts):,} texts")
    return table


def check_model(folder: Path) -> None:
    """Whether a folder holds a model that can be read without running code of its own.

    Raises:
        InputError: it does not.
    """
    path = folder / "modules.json"
    try:
        types = [str(module["type"]) for module in json.loads(path.read_text(encoding="utf-8"))]
    except (FileNotFoundError, NotADirectoryError):
        found = "no modules.json" if folder.is_dir() else "no such folder"
        raise InputError(
            f"{folder}: found {found}, expected the folder of a sentence-transformers model; "
            "set the route's model to one: nothing is downloaded"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a list of modules, each with a type") from None
    foreign = [name for name in types if not name.startswith("sentence_transformers.")]
    if foreign:
        raise InputError(f"{path}: found the module {foreign[0]}, expected those of sentence_transformers alone")
    for file in _unsafe(folder):
        raise InputError(
            f"{file}: found pickled weights, which may run any code, and no model.safetensors beside them; "
            "save the model again in that format"
        )
    if not any(folder.glob("**/*.safetensors")):
        raise InputError(f"{folder}: found no weights in a .safetensors file; save the model again in that format")


def _unsafe(folder: Path) -> Iterator[Path]:
    """Pickled weights that would be read, as nothing stands beside them that is read instead."""
    for file in sorted(folder.rglob("*")):
        if file.suffix in _PICKLED and not any((file.parent / name).is_file() for name in _READ_FIRST):
            yield file


def _model(config: SentenceConfig) -> _Encode:
    if find_spec("sentence_transformers") is None:
        raise InputError(
            "sentence: sentence-transformers is not installed; pip install 'recsys[text]', or leave the route out"
        )
    # Takes seconds to import, and is no part of an installation without this route.
    from sentence_transformers import SentenceTransformer

    try:
        model: Any = SentenceTransformer(
            config.model,
            device=None if config.device == "auto" else config.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # of many kinds, those of safetensors and tokenizers among them
        raise InputError(f"{config.model}: the model cannot be loaded ({error})") from error

    def encode(texts: list[str]) -> Floats:
        found: Floats = model.encode(
            texts, batch_size=config.batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return found

    return encode
