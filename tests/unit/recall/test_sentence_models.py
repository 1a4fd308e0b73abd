"""The sentence route on real models, which need sentence-transformers."""

import json
import shutil
import socket

import numpy as np
import pytest
from numpy.testing import assert_allclose

from recsys.errors import InputError
from recsys.recall.settings.content import SentenceConfig

library = pytest.importorskip("sentence_transformers", reason="needs pip install 'recsys[text]'")

KNOWN = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rocket", "orbit", "alien", "sheriff", "saloon", "horse"]
TEXTS = ["rocket orbit", "alien", None, "sheriff saloon", "horse"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of one small layer, its weights drawn at random."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(KNOWN), **sizes)).save_pretrained(folder / "bert")
    BertTokenizer(vocab={word: row for row, word in enumerate(KNOWN)}).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(16)]
    library.SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture
def copied(tiny, tmp_path):
    """The model's folder, to be changed."""
    return shutil.copytree(tiny, tmp_path / "model")


@pytest.fixture(autouse=True)
def called(monkeypatch):
    """Whom the network was asked for."""
    hosts = []

    def offline(*arguments, **options):
        hosts.append(arguments)
        raise OSError("there is no network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    return hosts


def config(folder):
    return SentenceConfig(kind="sentence", model=str(folder), device="cpu", batch_size=2)


def test_items_are_compared_by_what_the_model_gives(catalogue, asked, tiny, called):
    found = asked(config(tiny), catalogue(title=TEXTS), [0])
    model = library.SentenceTransformer(str(tiny), device="cpu", local_files_only=True)
    vectors = np.stack([model.encode(text) for text in TEXTS if text])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert_allclose(found[[0, 1, 3, 4]], vectors @ vectors[0], atol=1e-4)
    assert found[2] == 0
    assert_allclose(asked(config(tiny), catalogue(title=TEXTS), [0]), found, rtol=1e-5, atol=1e-5)
    assert called == []


def test_a_prompt_is_part_of_what_is_encoded(catalogue, asked, tiny):
    prompted = asked(
        config(tiny).model_copy(update={"prompt": "rocket "}), catalogue(title=["alien", "horse", "orbit"]), [0]
    )
    spelt = asked(config(tiny), catalogue(title=["rocket alien", "rocket horse", "rocket orbit"]), [0])
    assert_allclose(prompted, spelt, rtol=1e-5, atol=1e-5)


def test_pickled_weights_are_never_opened(catalogue, asked, copied, tmp_path):
    """A pickle that would leave a trace is taken neither alone nor beside safe weights."""
    trace = str(tmp_path / "trace").encode()
    (copied / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + trace + b"'\ntR.")
    beside = asked(config(copied), catalogue(title=TEXTS), [0])
    (copied / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pytorch_model.bin: found pickled weights, which may run any code"):
        asked(config(copied), catalogue(title=TEXTS), [0])
    assert np.isfinite(beside).all()
    assert not (tmp_path / "trace").exists()


def test_code_in_the_folder_is_never_run(catalogue, asked, copied, tmp_path):
    trace = tmp_path / "trace"
    (copied / "own.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    about = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**about, "auto_map": {"AutoModel": "own.Model"}}))
    assert np.isfinite(asked(config(copied), catalogue(title=TEXTS), [0])).all()
    (copied / "config.json").write_text(
        json.dumps({**about, "auto_map": {"AutoModel": "own.Model"}, "model_type": "own"})
    )
    with pytest.raises(InputError, match="the model cannot be loaded"):
        asked(config(copied), catalogue(title=TEXTS), [0])
    assert not trace.exists()


def test_weights_cut_short_are_said_to_be(catalogue, asked, copied):
    weights = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=r"model: the model cannot be loaded \("):
        asked(config(copied), catalogue(title=TEXTS), [0])


def test_a_folder_that_lacks_a_file_asks_nobody_for_it(catalogue, asked, copied, called):
    (copied / "config.json").unlink()
    with pytest.raises(InputError, match="the model cannot be loaded"):
        asked(config(copied), catalogue(title=TEXTS), [0])
    assert called == []
