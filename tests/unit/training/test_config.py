"""Settings of a training that cannot be."""

import pytest
from pydantic import ValidationError

from recsys.problems import Problem
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


def test_arguments_of_the_trainer_may_be_of_any_shape():
    given = {"precision": "bf16-mixed", "plugins": [], "limit_train_batches": 0.5}
    assert TrainingConfig.model_validate({"trainer": given}).trainer == given
