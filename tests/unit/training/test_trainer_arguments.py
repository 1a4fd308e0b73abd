"""What `trainer:` changes about a run: its length, its precision, its device."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recsys.errors import ConfigError
from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.embedding import SPARSE_ROWS
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import OptimiserConfig, TrainingConfig
from recsys.training.optimisers import clip_gradients, optimiser_of
from recsys.training.plan import plan
from recsys.training.trainer import predict, seeded, train

BATCHES = 12


def samples(seed, groups=16 * BATCHES):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, 8)).astype(np.float32)
    item = rng.integers(1, 30, x.shape)
    labels = (rng.random(x.shape) < 1 / (1 + np.exp(-2 * x - 2 * (item % 2) + 1))).astype(np.float32)
    return Samples({"item.x": x, "item.id": item}, labels, np.ones(x.shape, bool), 16)


def deepfm(rows=31, **settings):
    spec = InputSpec((Field("item.id", rows, 1, "item.id"), Field("item.x", 0, 1, "")), 1)
    with seeded(1):
        return build_ranker(DeepFMConfig(kind="deepfm", embedding_dim=4, hidden=(16,), **settings), spec)


def trained(model, trainer, *, steps=None, validate=None, folder=None, **settings):
    """Trains, and counts what the loss was asked."""

    def loss(scores, labels, *, mask=None):
        if steps is not None:
            steps.append(float(model.bias.detach()))
        return bce(scores, labels, mask=mask)

    options = {"epochs": 4, "optimiser": {"learning_rate": 0.02}, "trainer": trainer, **settings}
    config = TrainingConfig.model_validate(options)
    log = lambda *_: None  # noqa: E731
    return train(model, loss, samples(0), config, seed=2, log=log, validate=validate, checkpoints=folder)


def quality(model):
    given = samples(9)
    return roc_auc_score(given.labels.ravel(), predict(model, given).ravel())


@pytest.mark.parametrize(
    ("trainer", "accumulate", "epochs", "batches"),
    [
        ({"limit_train_batches": 5}, 1, 4, 20),
        ({"limit_train_batches": 0.5}, 1, 4, 24),
        ({"limit_train_batches": 99}, 1, 4, 48),
        ({"max_steps": 15}, 1, 2, 15),
        ({"max_steps": 99}, 1, 4, 48),
        ({"max_steps": -1}, 1, 4, 48),
        # Steps of 5, 5 and 2 batches.
        ({"max_steps": 4}, 5, 2, 17),
        ({"max_steps": 3}, 5, 1, 12),
        ({"max_steps": 6, "limit_train_batches": 4}, 1, 2, 6),
        ({"fast_dev_run": True}, 1, 1, 1),
        ({"fast_dev_run": 3}, 1, 1, 3),
        ({"fast_dev_run": False}, 1, 4, 48),
    ],
)
def test_a_run_is_cut_to_this_length_and_its_schedule_ends_with_it(trainer, accumulate, epochs, batches):
    steps, judged = [], []

    def judge(model):
        judged.append(len(steps))
        return {"x": float(len(judged))}

    model = deepfm()
    result = trained(model, trainer, steps=steps, validate=judge, accumulate=accumulate)
    assert (result.epochs, len(steps), judged[-1]) == (epochs, batches, batches)
    assert len(judged) == epochs
    whole = TrainingConfig.model_validate({"epochs": 4, "accumulate": accumulate, "trainer": trainer})
    found = plan(whole, BATCHES)
    # Whatever the length, a schedule has come to its end with the last step.
    total = sum(-(-found.of(epoch) // accumulate) for epoch in range(found.epochs))
    assert total / found.steps == pytest.approx(found.length)


def test_a_cut_run_that_was_stopped_goes_on(tmp_path):
    def stopped(model):
        raise KeyboardInterrupt

    trainer = {"max_steps": 20}
    once, again = deepfm(), deepfm()
    trained(once, trainer, validate=lambda _: {"x": 1.0})
    with pytest.raises(KeyboardInterrupt):
        trained(deepfm(), trainer, validate=stopped, folder=tmp_path, checkpoint_minutes=0)
    steps = []
    trained(again, trainer, steps=steps, validate=lambda _: {"x": 1.0}, folder=tmp_path, checkpoint_minutes=0)
    # The last of the first epoch's steps was not kept: its figure was not known yet.
    assert len(steps) == 20 - (BATCHES - 1)
    assert all(torch.equal(values, again.state_dict()[name]) for name, values in once.state_dict().items())


def test_no_time_is_no_time():
    steps = []
    trained(deepfm(), {"max_time": {"seconds": 0}}, steps=steps)
    assert len(steps) < BATCHES


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"accelerator": "abacus"}, "training.trainer: Lightning cannot be set up so: .*abacus"),
        ({"max_time": "soon"}, "training.trainer: Lightning cannot be set up so: .*soon"),
        ({"devices": "none"}, "training.trainer: Lightning cannot be set up so"),
        (
            {"limit_train_batches": 0.01},
            "training: found 12 batches an epoch for 1 devices, limited to 0.01, expected at",
        ),
    ],
)
def test_arguments_that_lightning_or_the_data_do_not_bear_are_told(trainer, expected):
    with pytest.raises(ConfigError, match=expected):
        trained(deepfm(), trainer)


@pytest.mark.parametrize(
    "trainer", [{"deterministic": True}, {"barebones": True}, {"detect_anomaly": True}, {"benchmark": True}]
)
def test_other_arguments_pass(trainer):
    assert trained(deepfm(), trainer, epochs=1).epochs == 1
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_profiler_is_heard(caplog):
    trained(deepfm(), {"profiler": "simple"}, epochs=1)
    assert "run_training_batch" in caplog.text


@pytest.mark.parametrize("rows", [31, SPARSE_ROWS + 1])
def test_half_precision_learns_as_well_on_a_cpu(rows):
    single, half = deepfm(rows), deepfm(rows)
    for model, precision in ((single, "32-true"), (half, "bf16-mixed")):
        trained(model, {"accelerator": "cpu", "precision": precision}, gradient_clip=1.0, ema=0.9)
        assert {values.dtype for values in model.parameters()} == {torch.float32}
    assert quality(single) > 0.85
    assert quality(half) == pytest.approx(quality(single), abs=0.01)
    assert not torch.equal(single.deep.first.candidate.weight, half.deep.first.candidate.weight)


@pytest.mark.parametrize("overflow", [False, True])
def test_scaled_losses_of_sparse_tables_are_scaled_back_before_they_are_clipped(overflow):
    """What Lightning does under `precision: 16-mixed`, on a CPU: `GradScaler` around this optimiser and this clip."""
    model, plain = (deepfm(SPARSE_ROWS + 1, dropout=0.0, embedding_dropout=0.0) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    (batch,) = list(samples(0, groups=16).in_order())
    before = {name: values.detach().clone() for name, values in model.named_parameters()}
    for found, scaled in ((model, True), (plain, False)):
        optimiser = optimiser_of(found, OptimiserConfig(kind="sgd", learning_rate=0.5))
        loss = bce(found(batch.inputs), batch.labels.unsqueeze(-1)) * (torch.inf if overflow else 1.0)
        (scaler.scale(loss) if scaled else loss).backward()
        if scaled:
            scaler.unscale_(optimiser)
        norm = clip_gradients(list(found.parameters()), 0.01)
        if scaled:
            scaler.step(optimiser)
            scaler.update()
        elif not overflow:
            assert norm > 0.01
            optimiser.step()
    for name, values in model.named_parameters():
        expected = before[name] if overflow else dict(plain.named_parameters())[name]
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-7)
    assert scaler.get_scale() == (2.0**13 if overflow else 2.0**14)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("rows", [31, SPARSE_ROWS + 1])
def test_a_gpu_learns_as_well(rows, precision):
    cpu, gpu = deepfm(rows), deepfm(rows)
    trained(cpu, {"accelerator": "cpu"}, gradient_clip=1.0, ema=0.9)
    trained(gpu, {"accelerator": "gpu", "precision": precision}, gradient_clip=1.0, ema=0.9)
    assert {values.device.type for values in gpu.state_dict().values()} == {"cpu"}
    assert quality(gpu) == pytest.approx(quality(cpu), abs=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_run_on_a_gpu_goes_on_to_the_same_weights(precision, tmp_path):
    def stopped(model):
        if len(steps) >= 2 * BATCHES:
            raise KeyboardInterrupt
        return {"x": float(len(steps))}

    trainer = {"accelerator": "gpu", "precision": precision, "deterministic": "warn"}
    once, again, steps = deepfm(), deepfm(), []
    trained(once, trainer, steps=[], validate=lambda _: {"x": 1.0}, patience=0)
    with pytest.raises(KeyboardInterrupt):
        trained(deepfm(), trainer, steps=steps, validate=stopped, folder=tmp_path, checkpoint_minutes=0, patience=0)
    trained(again, trainer, validate=lambda _: {"x": 1.0}, folder=tmp_path, checkpoint_minutes=0, patience=0)
    assert all(torch.equal(values, again.state_dict()[name]) for name, values in once.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_two_gpus_learn_as_well(precision):
    one, two = deepfm(SPARSE_ROWS + 1), deepfm(SPARSE_ROWS + 1)
    trained(one, {"accelerator": "gpu"}, accumulate=2)
    config = {"accelerator": "gpu", "devices": 2, "strategy": "ddp", "precision": precision}
    train_two = TrainingConfig.model_validate({"epochs": 4, "optimiser": {"learning_rate": 0.02}, "trainer": config})
    train(two, bce, samples(0), train_two, seed=2, log=lambda *_: None)
    assert quality(two) == pytest.approx(quality(one), abs=0.02)
