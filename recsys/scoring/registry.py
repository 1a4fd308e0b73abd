"""Every scorer by its kind, and folders of them."""

import json
from pathlib import Path

from recsys.errors import ArtifactError
from recsys.scoring.base import Scorer
from recsys.scoring.onnx import OnnxScorer

__all__ = ["SCORERS", "load_scorer", "save_scorer"]

SCORERS: dict[str, type[Scorer]] = {"onnx": OnnxScorer}
_FILE = "scorer.json"


def save_scorer(scorer: Scorer, folder: Path) -> None:
    """Writes a scorer and its kind into a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    scorer.save(folder)
    (folder / _FILE).write_text(json.dumps({"kind": scorer.kind}) + "\n", encoding="utf-8")


def load_scorer(folder: Path) -> Scorer:
    """What `save_scorer` wrote.

    Raises:
        ArtifactError: a file is missing or damaged, or the kind is unknown.
    """
    try:
        kind = json.loads((folder / _FILE).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / _FILE}: cannot be read ({error}); train the ranker again") from error
    if kind not in SCORERS:
        raise ArtifactError(f"{folder / _FILE}: kind {kind!r}, expected one of {', '.join(SCORERS)}")
    return SCORERS[kind].load(folder)
