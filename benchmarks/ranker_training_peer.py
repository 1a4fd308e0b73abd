"""One epoch of a library's DeepFM: python ranker_training_peer.py deepctr-torch|torch-rechub FOLDER SETTINGS-AS-JSON.

Needs that library alone. Reads `train.npz` and `valid.npz`, prints samples a second, writes `scores.npy` of the latter.
"""

import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch


def columns(path: str) -> tuple[dict[str, Any], Any]:
    log = np.load(path)
    inputs = {f"c{n}": values for n, values in enumerate(log["categories"].T)}
    return inputs | {f"i{n}": values for n, values in enumerate(log["numbers"].T)}, log["label"]


def deepctr(train: Any, valid: Any, settings: dict[str, Any]) -> tuple[float, Any]:  # noqa: ANN401
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    fields = [SparseFeat(f"c{n}", size, embedding_dim=16) for n, size in enumerate(settings["sizes"])]
    fields += [DenseFeat(f"i{n}", 1) for n in range(settings["numbers"])]
    plain = {"l2_reg_embedding": 0, "l2_reg_linear": 0, "task": "binary", "device": "cpu"}
    model = DeepFM(fields, fields, dnn_hidden_units=tuple(settings["hidden"]), seed=settings["seed"], **plain)
    model.compile("adam", "binary_crossentropy", metrics=[])
    began = time.perf_counter()
    model.fit(*train, batch_size=settings["batch_size"], epochs=1, verbose=0)
    seconds = time.perf_counter() - began
    return seconds, model.predict(valid[0], 8192).ravel()


def rechub(train: Any, valid: Any, settings: dict[str, Any]) -> tuple[float, Any]:  # noqa: ANN401
    from torch.utils.data import DataLoader
    from torch_rechub.basic.features import DenseFeature, SparseFeature
    from torch_rechub.models.ranking import DeepFM
    from torch_rechub.trainers import CTRTrainer
    from torch_rechub.utils.data import TorchDataset

    sparse = [SparseFeature(f"c{n}", vocab_size=size, embed_dim=16) for n, size in enumerate(settings["sizes"])]
    dense = [DenseFeature(f"i{n}") for n in range(settings["numbers"])]
    network = {"dims": settings["hidden"], "dropout": 0.0, "activation": "relu"}
    model = DeepFM(deep_features=sparse + dense, fm_features=sparse, mlp_params=network)
    fitting, unseen = (
        DataLoader(TorchDataset(*part), batch_size=settings["batch_size"], shuffle=shuffled)
        for part, shuffled in ((train, True), (valid, False))
    )
    folder = tempfile.mkdtemp()
    trainer = CTRTrainer(model, optimizer_params={"lr": 1e-3}, n_epoch=1, device="cpu", model_path=folder)
    began = time.perf_counter()
    trainer.train_one_epoch(fitting)
    seconds = time.perf_counter() - began
    return seconds, np.asarray(trainer.predict(trainer.model, unseen))


def main(library: str, folder: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(settings["seed"])
    train, valid = columns(f"{folder}/train.npz"), columns(f"{folder}/valid.npz")
    seconds, scores = {"deepctr-torch": deepctr, "torch-rechub": rechub}[library](train, valid, settings)
    np.save(f"{folder}/scores.npy", scores)
    print(json.dumps({"samples_per_s": len(train[1]) / seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
