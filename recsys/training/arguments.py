"""Which arguments of Lightning's Trainer a training takes, and why not the others; torch-free."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, JsonValue

from recsys.problems import Problem, Problems, unknown

__all__ = ["CUTS", "PASSED", "REFUSED", "TrainerArguments"]

PASSED = frozenset(
    {
        "accelerator",
        "barebones",
        "benchmark",
        "default_root_dir",
        "detect_anomaly",
        "deterministic",
        "devices",
        "enable_autolog_hparams",
        "enable_model_summary",
        "enable_progress_bar",
        "max_time",
        "model_registry",
        "precision",
        "profiler",
        "strategy",
    }
)
"""What goes to the Trainer as it is."""

CUTS = frozenset({"fast_dev_run", "limit_train_batches", "max_steps"})
"""What cuts a run short: done here, so that the schedule, checkpoints and validation know of it."""

_OBJECTS = "it takes objects, which a configuration cannot hold"
_VALIDATION = "validation runs once an epoch, on all of the valid window, outside of Lightning's loop"

REFUSED = {
    "accumulate_grad_batches": "set `accumulate` instead",
    "callbacks": _OBJECTS,
    "check_val_every_n_epoch": _VALIDATION,
    "enable_checkpointing": "set `checkpoint_minutes` instead; from what Lightning writes no run goes on exactly",
    "gradient_clip_algorithm": "`gradient_clip` is of the norm of all gradients together",
    "gradient_clip_val": "set `gradient_clip` instead",
    "inference_mode": _VALIDATION,
    "limit_predict_batches": _VALIDATION,
    "limit_test_batches": _VALIDATION,
    "limit_val_batches": _VALIDATION,
    "log_every_n_steps": "curves have a point an epoch",
    "logger": "curves go where `tracking` says",
    "max_epochs": "set `epochs` instead",
    "min_epochs": "set `patience` instead",
    "min_steps": "set `patience` instead",
    "num_nodes": "a training has the devices of one machine; set `devices` instead",
    "num_sanity_val_steps": _VALIDATION,
    "overfit_batches": "set `limit_train_batches` instead",
    "plugins": _OBJECTS,
    "reload_dataloaders_every_n_epochs": "batches are drawn anew every epoch",
    "sync_batchnorm": "running statistics are those of the first device",
    "use_distributed_sampler": "batches are dealt out to the devices as they are drawn",
    "val_check_interval": _VALIDATION,
}
"""By name, what to do instead or why it cannot be."""

_PRECISIONS = ("32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed")
_STRATEGIES = ("auto", "ddp", "ddp_spawn")


def _usable(arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
    found = [Problem(what, at=(name,)) for name in arguments if (what := _wrong(name, arguments))]
    if found:
        raise Problems(found)
    return arguments


def _wrong(name: str, arguments: Mapping[str, JsonValue]) -> str:
    """What is wrong with an argument; nothing when it can be used."""
    value = arguments[name]
    if name in REFUSED:
        return f"cannot be set here: {REFUSED[name]}"
    if name not in PASSED | CUTS:
        return unknown(name, [*PASSED, *CUTS, *REFUSED], noun="Trainer argument of Lightning")
    if name == "precision" and value is not None and str(value) not in _PRECISIONS:
        return f"found {value!r}, expected 32-true, 16-mixed or bf16-mixed: weights stay in single precision"
    if name == "strategy" and value not in _STRATEGIES:
        return f"found {value!r}, expected auto or ddp: each device has all weights, and gradients are averaged"
    return ""


TrainerArguments = Annotated[dict[str, JsonValue], AfterValidator(_usable)]
