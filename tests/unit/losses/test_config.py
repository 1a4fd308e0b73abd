"""How losses are written, what is refused, and that settings are those of the functions."""

import inspect

import pytest
import torch

from recsys.errors import ConfigError
from recsys.losses.combined import Combined
from recsys.losses.config import BCELoss, LossConfig, LossTerm, loss_terms, needing_groups
from recsys.losses.lambdarank import lambdarank
from recsys.losses.pointwise import bce, focal
from recsys.losses.registry import LOSSES, build_loss
from recsys.settings import Settings, dump_settings, load_settings


class Root(Settings):
    """A configuration with nothing but a loss."""

    loss: LossConfig = BCELoss(kind="bce")


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text):
        (tmp_path / "x.yaml").write_text(f"loss: {text}\n", encoding="utf-8")
        return load_settings(Root, "x.yaml", environ={}).loss

    return read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bce", [("bce", 1.0)]),
        ("0.5*mse", [("mse", 0.5)]),
        ("bce + 0.1 * lambdarank", [("bce", 1.0), ("lambdarank", 0.1)]),
        (".5 * bce+1e+1*hinge + 2. * bpr", [("bce", 0.5), ("hinge", 10.0), ("bpr", 2.0)]),
        ("{kind: focal}", [("focal", 1.0)]),
        ("[bce, {kind: focal, weight: 3}, 0.25 * listnet]", [("bce", 1.0), ("focal", 3.0), ("listnet", 0.25)]),
    ],
)
def test_ways_to_write_losses(load, text, expected):
    assert [(term.kind, term.weight) for term in loss_terms(load(text))] == expected


def test_every_kind_is_a_word_and_has_a_function(load):
    for kind, function in LOSSES.items():
        (term,) = loss_terms(load(kind))
        assert term.kind == kind
        parameters = inspect.signature(function).parameters
        common = ("scores", "labels", "mask", "weight", "reduction")
        expected = {name: parameter.default for name, parameter in parameters.items() if name not in common}
        assert term.model_dump(exclude={"kind", "weight"}) == expected, "the same settings with the same defaults"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambdrank", "x.yaml:1: loss: found 'lambdrank', expected a loss; did you mean lambdarank?"),
        (
            "bce + 0.1 * lamdarank + hinje",
            "x.yaml:1: loss: found 'hinje', expected a loss; did you mean hinge?\n"
            "x.yaml:1: loss: found 'lamdarank', expected a loss; did you mean lambdarank?",
        ),
        (
            "bce - mse",
            "x.yaml:1: loss: found 'bce - mse', expected losses with weights or without, such as "
            "bce + 0.1 * lambdarank",
        ),
        (
            "__import__('os')",
            "x.yaml:1: loss: found \"__import__('os')\", expected losses with weights or without, such as "
            "bce + 0.1 * lambdarank",
        ),
        ("0 * bce", "x.yaml:1: loss: found 0.0, expected more than 0"),
        ("{kind: focal, gama: 2}", "x.yaml:1: loss.gama: unknown key; did you mean gamma?"),
        ("{kind: focal, gamma: -2}", "x.yaml:1: loss.gamma: found -2, expected at least 0"),
        ("[bce, {kind: hinge, marign: 2}]", "x.yaml:1: loss.1.marign: unknown key; did you mean margin?"),
        ("[bce, hinje]", "x.yaml:1: loss.1: found 'hinje', expected a loss; did you mean hinge?"),
        ("[bce + mse]", "x.yaml:1: loss.0: found 'bce + mse', expected one loss in each entry of a list"),
        ("[]", "x.yaml:1: loss: found an empty list, expected at least one loss"),
        ("3", "x.yaml:1: loss: found 3, expected a mapping or a list"),
        (
            "{gamma: 2}",
            f"x.yaml:1: loss.kind: required, but missing; expected one of {', '.join(LOSSES)}",
        ),
    ],
)
def test_what_is_wrong_is_said(load, text, message):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert set(str(caught.value).splitlines()) == set(message.splitlines())


@pytest.mark.parametrize("text", ["bpr", "bce + 0.1 * lambdarank", "[mse, {kind: hinge, hardest: 3, weight: 2}]"])
def test_what_is_dumped_reads_back_equal(load, tmp_path, text):
    config = Root(loss=load(text))
    (tmp_path / "y.yaml").write_text(dump_settings(config), encoding="utf-8")
    assert load_settings(Root, "y.yaml", environ={}) == config


def test_losses_that_compare_need_groups(load):
    assert needing_groups(load("bce + focal + mse")) == []
    assert needing_groups(load("bce + bpr + 2 * listmle")) == ["bpr", "listmle"]
    assert [kind for kind in LOSSES if not needing_groups(load(kind))] == ["bce", "focal", "mse"]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_sum_is_the_sum(load, reduction):
    scores, labels = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, 3.0]]), torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    given = {"mask": torch.tensor([[True, True, True], [False, True, True]]), "weight": scores.abs()}
    loss = build_loss(load("[bce, {kind: focal, gamma: 3, weight: 2}, 0.1 * lambdarank]"))
    expected = (
        bce(scores, labels, reduction=reduction, **given)
        + 2 * focal(scores, labels, gamma=3, reduction=reduction, **given)
        + 0.1 * lambdarank(scores, labels, reduction=reduction, **given)
    )
    torch.testing.assert_close(loss(scores, labels, reduction=reduction, **given), expected)


def test_a_single_loss_with_a_weight_is_weighted(load):
    scores, labels = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert not isinstance(build_loss(load("bce")), Combined)
    torch.testing.assert_close(build_loss(load("3 * bce"))(scores, labels), 3 * torch.tensor(2.0).log())


def test_members_of_the_union_are_the_registry():
    from typing import get_args

    kinds = [k for model in get_args(get_args(LossTerm)[0]) for k in get_args(model.model_fields["kind"].annotation)]
    assert kinds == list(LOSSES)
