"""The retriever contract: what every recall route is served by.

A route knows an item if training or the item's content tells it something about the item: an embedding row that events
trained, a weight, a count, a word or value that the items table has. Items without anything of the kind (they have no
event in the training windows, or fewer than the route's `min_count`) have no score, whatever the numbers they happened
to be initialised with: they are never returned, not even to fill a list. A request of which the route knows nothing (no
item of its history, no feature) is answered by padding alone; the funnel then falls back to popular items.

How each kind says so: `vector` by a vector of zeros, which no index holds and which finds nothing, or by a query that
is not finite; `neighbours`, `lookup` and `static` by a weight that is not above 0.
"""

from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from recsys.features.batch import Arrays, Codes, Floats, QueryBatch

__all__ = ["Retriever"]


@runtime_checkable
class Retriever(Protocol):
    """Finds and scores items for requests.

    Scores are comparable within one retriever only. Ties go to the smaller code. Seen items are not removed here:
    that is the funnel's policy.
    """

    kind: ClassVar[str]

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """The best `k` items of each request.

        Args:
            queries: B requests.
            k: list length; when fewer items qualify the rest is code −1, score −inf.
            allowed: sorted item codes to choose from; `None` means the whole catalogue.

        Returns:
            codes `(B, k)` int32 and scores `(B, k)` float32, best first.
        """
        ...

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """Scores `(B, C)` of these candidates `(B, C)`.

        −inf where the code is −1 or where `retrieve` would never return the item: the route does not know the item, or
        knows nothing of the request.
        """
        ...

    def save(self, folder: Path) -> None:
        """Writes everything `load` needs into an existing empty folder: JSON, `.npy`, FAISS, ONNX; no pickle."""
        ...

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """Reads what `save` wrote.

        Args:
            folder: what `save` was given.
            item_features: encoded `item.*` arrays; only query encoders that read past items look at them.

        Raises:
            ArtifactError: a file is missing, damaged or inconsistent.
        """
        ...
