"""Every retriever by its kind, and folders of them."""

import json
from pathlib import Path

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays
from recsys.retrieval.base import Retriever
from recsys.retrieval.lookup import LookupRetriever
from recsys.retrieval.neighbours import NeighboursRetriever
from recsys.retrieval.static import StaticRetriever
from recsys.retrieval.vector import VectorRetriever

__all__ = ["RETRIEVERS", "load_retriever", "save_retriever"]

RETRIEVERS: dict[str, type[Retriever]] = {
    "lookup": LookupRetriever,
    "neighbours": NeighboursRetriever,
    "static": StaticRetriever,
    "vector": VectorRetriever,
}
_FILE = "retriever.json"


def save_retriever(retriever: Retriever, folder: Path) -> None:
    """Writes a retriever and its kind into an existing folder."""
    retriever.save(folder)
    (folder / _FILE).write_text(json.dumps({"kind": retriever.kind}) + "\n", encoding="utf-8")


def load_retriever(folder: Path, item_features: Arrays) -> Retriever:
    """What `save_retriever` wrote.

    Args:
        folder: the retriever's.
        item_features: encoded `item.*` arrays, for query encoders that read fields of past items.

    Raises:
        ArtifactError: a file is missing or damaged, or the kind is unknown.
    """
    try:
        kind = json.loads((folder / _FILE).read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / _FILE}: cannot be read ({error}); fit the route again") from error
    if kind not in RETRIEVERS:
        raise ArtifactError(f"{folder / _FILE}: kind {kind!r}, expected one of {', '.join(RETRIEVERS)}")
    return RETRIEVERS[kind].load(folder, item_features)
