"""Texts encoded by a model directory; what is read of it and what is refused."""

import json
import socket
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

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


def test_texts_go_in_parts_and_each_part_is_announced(catalogue, monkeypatch, heard):
    data = catalogue(title=[f"word{n} of {n % 3}" for n in range(10)])
    whole = fit_route(CONFIG, data, FitContext(0, None, None, lambda line: None, None))
    monkeypatch.setattr(sentence, "_TOGETHER", 4)
    said = []
    parts = fit_route(CONFIG, data, FitContext(0, None, None, said.append, None))
    batch = QueryBatch(np.array([[1]], np.int32), np.array([1], np.int32), {})
    for one, two in zip(whole.retrieve(batch, 10), parts.retrieve(batch, 10), strict=True):
        np.testing.assert_array_equal(one, two)
    assert said == [f"sentence: {n} of 10 texts" for n in (4, 8, 10)]


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
    assert refused(tmp_path) == (
        "F: found no modules.json, expected the folder of a sentence-transformers model; set model to one"
    )
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
def test_pickled_weights_are_refused_unless_safe_ones_lie_beside_them(tmp_path, name):
    folder_of(tmp_path, PLAIN, [name])
    assert refused(tmp_path) == ("F: found no weights in a .safetensors file; save the model again in that format")
    check_model(folder_of(tmp_path, files=["model.safetensors"]))
    folder_of(tmp_path, files=[f"2_Dense/{name}"])
    assert refused(tmp_path) == (
        f"F/2_Dense/{name}: found pickled weights, which may run any code, and no .safetensors beside them; "
        "save the model again in that format"
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of one small layer, its weights drawn at random."""
    library = pytest.importorskip("sentence_transformers")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from sentence_transformers.models import Pooling, Transformer

    folder = tmp_path_factory.mktemp("tiny")
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rocket", "orbit", "alien", "sheriff", "saloon", "horse"]
    (folder / "vocab.txt").write_text("\n".join(known), encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(known), **sizes)).save_pretrained(folder / "bert")
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    body = Transformer(str(folder / "bert"))
    library.SentenceTransformer(modules=[body, Pooling(16)], device="cpu").save(str(folder / "model"))
    return folder / "model"


def test_a_real_model_is_read_without_a_network(catalogue, asked, tiny, monkeypatch):
    def offline(*arguments, **options):
        raise AssertionError("the network was asked for")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, offline)
    from sentence_transformers import SentenceTransformer

    texts = ["rocket orbit", "alien", None, "sheriff saloon", "horse"]
    config = SentenceConfig(kind="sentence", model=str(tiny), device="cpu", batch_size=2)
    found = asked(config, catalogue(title=texts), [0])
    model = SentenceTransformer(str(tiny), device="cpu", local_files_only=True)
    vectors = np.stack([model.encode(text) for text in texts if text])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert_allclose(found[[0, 1, 3, 4]], vectors @ vectors[0], atol=1e-4)
    assert found[2] == 0
    np.testing.assert_array_equal(found, asked(config, catalogue(title=texts), [0]))
