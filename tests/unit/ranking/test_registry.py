"""Rankers by their kind."""

import typing

from recsys.ranking.configs import TREES, RankerConfig
from recsys.ranking.registry import RANKERS


def test_every_configuration_has_its_ranker():
    models = typing.get_args(typing.get_args(RankerConfig)[0])
    kinds = {typing.get_args(model.model_fields["kind"].annotation)[0] for model in models}
    assert kinds == {*RANKERS, *TREES}
