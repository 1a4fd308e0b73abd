"""Texts encoded by a model directory; what is read of it and what is refused."""

import json
import sys
import tracemalloc

import numpy as np
import pytest

from recsys.errors import InputError
from recsys.features.batch import QueryBatch
from recsys.recall import sentence
from recsys.recall.base import FitContext
from recsys.recall.registry import fit_route
from recsys.recall.sentence import check_model
from recsys.recall.settings.content import SentenceConfig

CONFIG = SentenceConfig(kind="sentence", model="model")
PLAIN = [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]


@pytest.fixture
def heard(word_model, monkeypatch):
    """The texts that the model was given."""
    texts = []
    model = sys.modules["sentence_transformers"].SentenceTransformer

    class Listening(model):
        def encode(self, given, **options):
            texts.extend(given)
            return super().encode(given, **options)

    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", Listening)
    return texts


def test_items_are_told_as_one_text_and_each_text_once(catalogue, asked, heard):
    data = catalogue(
        title=[" A dog. ", "!", "A cat", "A cat"], tags=[["x", "y"], [], ["x"], ["x"]], brand=["Q", *[None] * 3]
    )
    asked(CONFIG.model_copy(update={"prompt": "item: "}), data, [0])
    assert heard == ["item: A dog.. x, y. Q", "item: A cat. x"]
    heard.clear()
    asked(CONFIG.model_copy(update={"columns": ("brand", "title")}), data, [0])
    assert heard == ["Q. A dog.", "A cat"]


def test_texts_go_in_parts_and_each_part_is_announced(catalogue, monkeypatch, heard, assert_same_lists):
    data = catalogue(title=[f"word{n} of {n % 3}" for n in range(10)])
    whole = fit_route(CONFIG, data, FitContext(0, None, None, lambda line: None, None))
    monkeypatch.setattr(sentence, "_TOGETHER", 4)
    said = []
    parts = fit_route(CONFIG, data, FitContext(0, None, None, said.append, None))
    batch = QueryBatch(np.array([[1]], np.int32), np.array([1], np.int32), {})
    assert_same_lists(parts.retrieve(batch, 10), whole.retrieve(batch, 10))
    assert said == [f"sentence: {n} of 10 texts" for n in (4, 8, 10)]


def test_memory_is_that_of_three_tables(catalogue, heard, monkeypatch):
    size, dim = 6000, 384
    vectors = np.random.default_rng(0).normal(size=(4096, dim)).astype(np.float32)
    model = sys.modules["sentence_transformers"].SentenceTransformer
    monkeypatch.setattr(model, "encode", lambda self, texts, **options: vectors[: len(texts)])
    data = catalogue(title=[f"w{n}" for n in range(size)])
    tracemalloc.start()
    fit_route(CONFIG, data, FitContext(0, None, None, lambda line: None, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3.3 * size * dim * 4


def test_a_model_that_gives_no_numbers_is_refused(catalogue, asked, heard, monkeypatch):
    model = sys.modules["sentence_transformers"].SentenceTransformer
    monkeypatch.setattr(model, "encode", lambda self, texts, **options: np.full((len(texts), 4), np.nan))
    with pytest.raises(InputError, match=r"^model: the model gives vectors that are not finite; use another model$"):
        asked(CONFIG, catalogue(title=["a"]), [0])


def test_a_model_that_cannot_be_loaded_is_refused(catalogue, asked, heard, monkeypatch):
    def broken(folder, **options):
        raise OSError("no file named config.json")

    monkeypatch.setattr(sys.modules["sentence_transformers"], "SentenceTransformer", broken)
    with pytest.raises(InputError, match=r"^model: the model cannot be loaded \(no file named config.json\)$"):
        asked(CONFIG, catalogue(title=["a"]), [0])


def test_without_the_library_it_says_what_to_install(catalogue, asked, word_model, monkeypatch):
    monkeypatch.setattr(sentence, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        asked(CONFIG, catalogue(title=["a"]), [0])
    assert str(caught.value) == (
        "sentence: sentence-transformers is not installed; pip install 'recsys[text]', or leave the route out"
    )


def folder_of(folder, modules=None, files=()):
    if modules is not None:
        (folder / "modules.json").write_text(modules if isinstance(modules, str) else json.dumps(modules))
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def refused(folder):
    with pytest.raises(InputError) as caught:
        check_model(folder)
    return str(caught.value).replace(str(folder), "F")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    expected = (
        "expected the folder of a sentence-transformers model; set the route's model to one: nothing is downloaded"
    )
    assert refused(tmp_path) == f"F: found no modules.json, {expected}"
    assert refused(tmp_path / "all-minilm") == f"F: found no such folder, {expected}"
    (tmp_path / "model.safetensors").touch()
    assert refused(tmp_path / "model.safetensors") == f"F: found no such folder, {expected}"
    for text in ("{", '{"a": 1}', "[1]", '[{"path": ""}]'):
        message = refused(folder_of(tmp_path, text))
        assert message.startswith("F/modules.json: cannot be read (")
        assert message.endswith("); expected a list of modules, each with a type")


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    folder_of(tmp_path, [*PLAIN, {"type": "custom.Pooling"}], ["model.safetensors"])
    assert refused(tmp_path) == (
        "F/modules.json: found the module custom.Pooling, expected those of sentence_transformers alone"
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "a.pkl"])
def test_pickled_weights_are_refused_unless_safe_ones_are_read_before_them(tmp_path, name):
    pickled = (
        "found pickled weights, which may run any code, and no model.safetensors beside them; "
        "save the model again in that format"
    )
    folder_of(tmp_path, PLAIN, [name])
    assert refused(tmp_path) == f"F/{name}: {pickled}"
    assert refused(folder_of(tmp_path, files=["other.safetensors"])) == f"F/{name}: {pickled}"
    check_model(folder_of(tmp_path, files=["model.safetensors"]))
    folder_of(tmp_path, files=[f"2_Dense/{name}"])
    assert refused(tmp_path) == f"F/2_Dense/{name}: {pickled}"
    check_model(folder_of(tmp_path, files=["2_Dense/model.safetensors.index.json"]))


def test_a_model_without_weights_is_refused(tmp_path):
    assert refused(folder_of(tmp_path, PLAIN, ["vocab.txt"])) == (
        "F: found no weights in a .safetensors file; save the model again in that format"
    )


def test_what_is_refused_is_refused_before_the_library_is_asked(catalogue, asked, heard, tmp_path):
    with pytest.raises(InputError, match="found no such folder"):
        asked(CONFIG.model_copy(update={"model": str(tmp_path / "none")}), catalogue(title=["a"]), [0])
    assert heard == []
