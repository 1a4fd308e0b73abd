"""Settings of the routes that go by what items say of themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from recsys.data.config import ColumnKind
from recsys.problems import Problem, unknown
from recsys.recall.settings.base import LogFacts, RouteSettings, VectorRouteSettings
from recsys.recall.word2vec.config import Word2VecSettings
from recsys.settings import Settings

__all__ = [
    "READABLE",
    "BM25Config",
    "ContentConfig",
    "SentenceConfig",
    "SubwordSettings",
    "TFIDFConfig",
    "TermsConfig",
    "TextVectorsConfig",
    "WordVectorSettings",
]

READABLE: tuple[ColumnKind, ...] = ("text", "categorical", "multi_categorical")
"""Kinds of columns that hold words or values."""


class ContentConfig(RouteSettings):
    """What these routes share: they read columns of the items table, and find items that have no events yet."""

    reads_items: ClassVar[bool] = True
    distance_settings = ("query_decay",)

    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of `data.items` that are read, of kind `text` (its words), `categorical` or `multi_categorical` (its
    values); `null`: all of these kinds."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back."""
    history: PositiveInt = 50
    """The most recent items that count."""

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also columns that are not there or hold neither words nor values."""
        yield from super().problems(log)
        kinds = {name: kind for name, kind in log.columns["item"].items() if name != "item_id"}
        readable = [name for name, kind in kinds.items() if kind in READABLE]
        if not readable:
            yield Problem(
                f"found {getattr(self, 'kind')}, but data.items has no column of kind {_either(READABLE)}; "  # noqa: B009
                "name one under data.items.columns, or leave the route out",
                at=("kind",),
            )
            return
        for position, name in enumerate(self.columns or ()):
            at = ("columns", position)
            if name not in kinds:
                yield Problem(unknown(name, readable, noun="column of data.items.columns"), at=at)
            elif name not in readable:
                found = f"found {name!r}, which is {kinds[name]}; expected a column of kind {_either(READABLE)}"
                yield Problem(found, at=at)


class TermsConfig(ContentConfig):
    """What routes share that match items by the words and values they have in common."""

    max_items: Annotated[int, Field(ge=2)] = 20_000
    """Words and values of more items than this are left out: they say least and cost most."""
    neighbours: PositiveInt = 200
    """Items kept for each item."""


class BM25Config(TermsConfig):
    """Items whose words and values match best, rare ones saying more (Robertson & Zaragoza 2009)."""

    kind: Literal["bm25"]
    k1: NonNegativeFloat = 1.2
    """How much more a word says that an item repeats: 0 nothing, the larger the longer it adds."""
    b: Annotated[float, Field(ge=0, le=1)] = 0.75
    """How much a long text is held against an item: 0 not at all, 1 in proportion."""


class TFIDFConfig(TermsConfig):
    """Cosine of words and values, rare ones weighing more (Salton & Buckley 1988)."""

    kind: Literal["tfidf"]
    log_counts: bool = True
    """Whether a word that stands n times counts 1 + log n, not n."""


class SubwordSettings(Settings):
    """The n-grams of characters that make up a word with itself, between a mark of its beginning and one of its end."""

    shortest: Annotated[int, Field(ge=1)] = 3
    """Characters of the shortest."""
    longest: PositiveInt = 6
    """Characters of the longest."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest < self.shortest:
            what = f"found {self.longest}, expected at least {self.shortest}, the length of the shortest"
            raise Problem(what, at=("longest",))
        return self


class WordVectorSettings(Word2VecSettings):
    """As for items, but for the texts of a catalogue, which are short and few."""

    window: PositiveInt = 10
    """Words on each side that count as context: most titles, whole."""
    epochs: PositiveInt = 20
    """Passes over the texts."""
    loss: Literal["negative_sampling", "hierarchical_softmax"] = "hierarchical_softmax"
    """`negative_sampling`: the centre against `num_negatives` drawn words; `hierarchical_softmax`: the turns of its
    path in a Huffman tree, which teach more of rare words, and catalogues have few others."""


class TextVectorsConfig(ContentConfig, VectorRouteSettings):
    """Vectors of words trained on the items' own texts; an item is the mean of its words."""

    kind: Literal["text_vectors"]
    training: WordVectorSettings = WordVectorSettings()
    """How words and values are trained, the text of an item being a sentence."""
    subwords: SubwordSettings | None = None
    """`null`: words are whole (Word2Vec); `{}`: a word is the mean of itself and its n-grams, so that words spelt alike
    are alike (FastText, Bojanowski 2017). N-grams are trained on CPUs."""
    rarity: PositiveFloat = 0.01
    """A word that makes up this share of all words weighs half of a rare one (SIF, Arora 2017)."""

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `ContentConfig`; also a device that cannot train n-grams."""
        yield from super().problems(log)
        if self.subwords is not None and self.training.device == "cuda":
            what = "found cuda, expected auto or cpu: n-grams are trained on CPUs; or set subwords: null"
            yield Problem(what, at=("training", "device"))


class SentenceConfig(ContentConfig, VectorRouteSettings):
    """Vectors of texts by a pretrained model (Sentence-BERT, Reimers & Gurevych 2019); it is not trained further."""

    kind: Literal["sentence"]
    model: str
    """Folder of a sentence-transformers model with `modules.json` and `model.safetensors`, relative to where the
    command runs; nothing is downloaded. Needs `pip install 'recsys[text]'`."""
    prompt: str = ""
    """Put before every text, where the model was trained with one (`passage: `)."""
    batch_size: PositiveInt = 32
    """Texts encoded together."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""

    def files(self) -> tuple[Path, ...]:
        """See `RouteSettings`: the model's."""
        return (Path(self.model),)


def _either(kinds: tuple[str, ...]) -> str:
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"
