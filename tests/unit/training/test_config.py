"""Settings of a training that cannot be."""

import inspect
import re

import pytest
import pytorch_lightning as pl
from pydantic import ValidationError

from recsys.problems import Problem
from recsys.training.arguments import CUTS, PASSED, REFUSED
from recsys.training.config import OptimiserConfig, TrainingConfig


@pytest.mark.parametrize(
    ("given", "at", "expected"),
    [
        ({"momentum": 0.9}, "momentum", "found 0.9 with adamw, expected it with sgd or rmsprop"),
        ({"kind": "sgd", "nesterov": True}, "nesterov", "found true, expected it with kind: sgd and a momentum"),
        ({"kind": "rmsprop", "momentum": 0.5, "nesterov": True}, "nesterov", "found true, expected it with kind: sgd"),
    ],
)
def test_momentum_is_for_those_that_have_it(given, at, expected):
    with pytest.raises((Problem, ValidationError), match=expected) as caught:
        OptimiserConfig(**given)
    assert at in str(getattr(caught.value, "at", caught.value))


def test_an_optimiser_of_tables_that_does_not_fit_sparse_gradients_is_refused():
    with pytest.raises(ValidationError, match="'auto', 'sgd', 'adagrad', 'adam', 'rowwise_adagrad' or 'rowwise_adam'"):
        OptimiserConfig(tables="adadelta")


def test_every_argument_of_lightnings_trainer_is_taken_or_refused_with_a_reason():
    known = set(inspect.signature(pl.Trainer).parameters)
    assert PASSED | CUTS | REFUSED.keys() == known
    assert not (PASSED | CUTS) & REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_work_in_this_loop_is_refused(name):
    with pytest.raises(ValidationError, match=f"{name}: cannot be set here: {re.escape(REFUSED[name])}"):
        TrainingConfig.model_validate({"trainer": {name: 1}})


def test_refused_arguments_name_settings_that_exist():
    settings = {name for text in REFUSED.values() for name in re.findall(r"`(\w+)` instead", text)}
    assert settings == {
        "accumulate",
        "checkpoint_minutes",
        "devices",
        "epochs",
        "gradient_clip",
        "limit_train_batches",
        "patience",
    }
    assert settings <= {*TrainingConfig.model_fields, *PASSED, *CUTS}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"precison": "bf16-mixed"},
            "precison: found 'precison', expected a Trainer argument of Lightning; did you mean precision",
        ),
        ({"precision": "bf16-true"}, "precision: found 'bf16-true', expected 32-true, 16-mixed or bf16-mixed"),
        ({"precision": 64}, "precision: found 64, expected 32-true"),
        ({"strategy": "fsdp"}, "strategy: found 'fsdp', expected auto or ddp"),
    ],
)
def test_arguments_that_cannot_be_are_told(given, expected):
    with pytest.raises(ValidationError, match=re.escape(expected)):
        TrainingConfig.model_validate({"trainer": given})


def test_arguments_of_the_trainer_may_be_of_any_shape():
    given = {"precision": "bf16-mixed", "max_time": {"hours": 2}, "devices": [0, 1], "limit_train_batches": 0.5}
    assert TrainingConfig.model_validate({"trainer": given}).trainer == given
