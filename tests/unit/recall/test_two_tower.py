"""Batches, negatives and scores of two-towers, against loops and formulas."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from recsys.features.assemble import Assembler
from recsys.features.batch import Field, InputSpec, QueryBatch
from recsys.features.history import Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.configs import RouteConfig
from recsys.recall.registry import fit_route
from recsys.recall.settings.base import LogFacts
from recsys.recall.settings.factors import ALSConfig
from recsys.recall.settings.two_tower import DSSMConfig, FMConfig, NegativesConfig, SASRecConfig, YouTubeDNNConfig
from recsys.recall.two_tower.batches import EventBatches, Requests, SequenceBatches, UserBatches, _windows, draw_history
from recsys.recall.two_tower.fm import FMTowers
from recsys.recall.two_tower.negatives import NegativeSampler
from recsys.recall.two_tower.route import HardNegatives, _start_from_factors, known_items
from recsys.recall.two_tower.towers import TwoTower
from recsys.training.batches import as_tensors

ITEMS = 30


def histories(counts, seed=0):
    counts = np.array(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    items = np.random.default_rng(seed).integers(0, ITEMS, offsets[-1]).astype(np.int32)
    return Histories(offsets, items, np.arange(len(items)))


def requests(kind, past, config=None, length=5, corrected=True):
    spec = InputSpec((Field("history.item_id", ITEMS + 2, 1, "x"), Field("item.item_id", ITEMS + 2, 1, "x")), length)
    assembler = Assembler({"item.item_id": np.arange(ITEMS) + 2}, spec)
    config = config or NegativesConfig(kind=kind, count=7)
    return Requests(past, {}, assembler, NegativeSampler(config, past, ITEMS, corrected=corrected), ITEMS)


def test_an_item_is_known_by_its_own_id_by_a_trained_value_or_by_a_number():
    fields = (Field("item.item_id", 6, 1, "id"), Field("item.tags", 5, 2, "tags"), Field("item.price", 0, 1, "", 0.5))
    features = {
        # Own and trained; own, but no positive; out-of-vocabulary, by a tag; by an untrained tag; by price; by nothing.
        "item.item_id": np.array([2, 3, 1, 1, 1, 1]),
        "item.tags": np.array([[2, 4], [1, 0], [1, 4], [3, 0], [1, 0], [1, 1]]),
        "item.price": np.array([0.5, 0.5, 0.5, 0.5, 0.1, 0.5], np.float32),
    }
    assert known_items(fields, features, np.array([0, 0, 5])).tolist() == [True, False, True, False, True, False]
    assert known_items(fields[:1], features, np.array([0, 5])).tolist() == [True] + [False] * 5
    assert not known_items(fields[:2], features, np.array([], np.int32)).any()


@pytest.mark.parametrize("counts", [[0, 1, 2, 5], [3, 1, 0, 9]])
def test_positives_are_the_events_that_batches_ask_for(counts):
    past = histories(counts)
    numbered = Histories(past.offsets, np.arange(len(past.items), dtype=np.int32), past.positions)
    spec = InputSpec((Field("history.item_id", ITEMS + 2, 1, "x"), Field("item.item_id", ITEMS + 2, 1, "x")), 3)
    assembler = Assembler({"item.item_id": np.arange(ITEMS) + 2}, spec)
    sampler = NegativeSampler(NegativesConfig(kind="all"), numbered, ITEMS, corrected=False)
    made = Requests(numbered, {}, assembler, sampler, ITEMS)
    for batches in (SequenceBatches(made, 2, True), UserBatches(made, 2, 2), EventBatches(made, 1, 1, 0.0, True, True)):
        asked = set()
        for seed in range(40):
            for batch in batches.epoch(np.random.default_rng(seed)):
                target = batch.labels.numpy().ravel()
                asked |= set(target[target >= 0].tolist())
        assert asked == set(batches.targets().tolist()), type(batches).__name__


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=8), st.integers(1, 7), st.integers(0, 99))
def test_sequences_ask_for_every_event_but_the_first_exactly_once(counts, length, seed):
    past = histories(counts)
    users, begin, end = _windows(past, length, np.random.default_rng(seed))
    assert ((end - begin) <= length).all()
    assert (begin < end).all()
    asked = np.concatenate([np.arange(b, e) + 1 for b, e in zip(begin, end, strict=True)] or [[]])
    expected = [
        at for first, last in zip(past.offsets, past.offsets[1:], strict=False) for at in range(first + 1, last)
    ]
    assert sorted(asked.tolist()) == expected
    assert (past.offsets[users] <= begin).all()
    assert (end < past.offsets[users + 1]).all()


def test_a_batch_of_sequences_asks_with_what_came_before():
    past = histories([6, 1, 3, 0, 12])
    batches = SequenceBatches(requests("all", past), batch_size=2, whole=True)
    seen = 0
    for batch in batches.epoch(np.random.default_rng(0)):
        at = batch.inputs["history.at"]
        items = (batch.inputs["history.item_id"][at] - 2).numpy()
        flat = items.reshape(-1)
        for state, target in zip(batch.inputs["states.at"].tolist(), batch.labels.flatten().tolist(), strict=True):
            item = flat[state]
            follows = [int(past.items[i + 1]) for i in range(len(past.items) - 1) if past.items[i] == item]
            assert target in follows
            seen += 1
        assert batch.mask is None
        assert len(batch.inputs["item.item_id"]) == ITEMS
    assert seen == 5 + 0 + 2 + 11
    assert len(list(batches.epoch(np.random.default_rng(1)))) <= len(batches)


def test_an_event_asks_with_the_items_before_it():
    past = histories([4, 8])
    batches = EventBatches(requests("in_batch", past), 3, min_history=2, user_penalty=0.0, ordered=True, whole=False)
    assert batches.targets().tolist() == [2, 3, 6, 7, 8, 9, 10, 11]
    for batch in batches.epoch(np.random.default_rng(0)):
        assert batch.labels.tolist() == [[0], [1], [2]]
        items = (batch.inputs["history.item_id"][batch.inputs["history.at"]] - 2).numpy()
        for row, target in zip(items, (batch.inputs["item.item_id"] - 2).tolist(), strict=True):
            known = row[row >= 0].tolist()
            assert any(
                past.items[at] == target and past.items[max(begin, at - 5) : at].tolist() == known
                for begin, end in ((0, 4), (4, 12))
                for at in range(begin + 2, end)
            )


def test_without_order_a_history_is_drawn_from_all_of_the_users_items():
    past = histories([3, 0, 40])
    drawn = draw_history(past, np.array([0, 1, 2], np.int32), 10, np.random.default_rng(0))
    assert drawn.shape == (3, 10)
    assert drawn[0].tolist() == [*past.items[:3].tolist(), *[-1] * 7]
    assert (drawn[1] == -1).all()
    text = ",".join(map(str, past.items[3:].tolist()))
    assert ",".join(map(str, drawn[2].tolist())) in text


@pytest.mark.parametrize("length", [3, 50])
def test_a_user_asks_with_half_of_the_items_for_the_other_half(length):
    past = histories([6, 1, 3, 0, 12, 2])
    batches = UserBatches(requests("all", past, length=length), batch_size=2, min_history=1)
    assert len(batches) == 2
    rng, asked = np.random.default_rng(0), []
    for _ in range(20):
        for batch in batches.epoch(rng):
            ids = batch.inputs["history.item_id"].numpy()[batch.inputs["history.at"].numpy()] - 2
            for row, (own, mask) in enumerate(zip(ids, batch.inputs["history.mask"].numpy() > 0, strict=True)):
                known = own[mask].tolist()
                wanted = [code for code in batch.labels[row].tolist() if code >= 0]
                assert 1 <= len(known) <= length
                assert wanted
                owners = [
                    user
                    for user in range(6)
                    if not Counter(known + wanted)
                    - Counter(past.items[past.offsets[user] : past.offsets[user + 1]].tolist())
                ]
                sizes = [past.counts[user] for user in owners]
                assert len(known) == length or len(known + wanted) in sizes
                out = np.flatnonzero(~batch.mask[row].numpy()).tolist()
                assert out == sorted(set(known) - set(wanted))
                asked.append(len(known) / len(known + wanted))
    # Four users an epoch.
    assert len(asked) == 80
    assert abs(np.mean(asked) - 0.5) < 0.06 or length == 3


def test_users_with_many_events_are_drawn_less():
    past = histories([2, 200])
    batches = EventBatches(requests("in_batch", past), 50, min_history=0, user_penalty=1.0, ordered=False, whole=False)
    drawn = batches._drawn(batches.targets(), np.random.default_rng(0))
    assert 0.3 < (drawn < 2).mean() < 0.7


@pytest.mark.parametrize("kind", ["in_batch", "sampled", "mixed"])
@pytest.mark.parametrize("mask_seen", [False, True])
def test_columns_hold_the_positive_and_mask_what_is_no_negative(kind, mask_seen):
    past = histories([5, 9, 4])
    config = NegativesConfig(kind=kind, count=40, mask_seen=mask_seen)
    sampler = NegativeSampler(config, past, ITEMS, corrected=True)
    users = np.array([0, 1, 1, 2], np.int32)
    targets = np.array([past.items[1], past.items[6], past.items[6], past.items[15]], np.int32)
    columns = sampler.columns(targets, users, np.random.default_rng(0))
    assert columns.codes[columns.target[:, 0]].tolist() == targets.tolist()
    for row, (user, target) in enumerate(zip(users, targets, strict=True)):
        own = set(past.items[past.offsets[user] : past.offsets[user + 1]].tolist())
        for column, code in enumerate(columns.codes.tolist()):
            if column == columns.target[row, 0]:
                assert columns.mask[row, column]
            elif code == target or (mask_seen and code in own):
                assert not columns.mask[row, column]
            elif kind != "sampled" or column >= len(set(targets.tolist())):
                assert columns.mask[row, column]
            else:
                assert not columns.mask[row, column]


def test_the_correction_is_the_logarithm_of_how_often_an_item_is_drawn():
    past = histories([50])
    counts = np.bincount(past.items, minlength=ITEMS) + 1.0
    targets = past.items[:10]
    mixed = NegativeSampler(NegativesConfig(kind="mixed", count=30, power=0.5), past, ITEMS, corrected=True)
    columns = mixed.columns(targets, np.zeros(10, np.int32), np.random.default_rng(0))
    drawn = counts**0.5 / (counts**0.5).sum()
    expected = 0.25 * counts / counts.sum() + 0.75 * drawn
    np.testing.assert_allclose(columns.logq, np.log(expected[columns.codes]), rtol=1e-5)
    plain = NegativeSampler(NegativesConfig(kind="mixed"), past, ITEMS, corrected=False)
    assert plain.columns(targets, np.zeros(10, np.int32), np.random.default_rng(0)).logq is None


def test_items_are_drawn_by_their_power():
    past = Histories(np.array([0, 900]), np.repeat(np.arange(2), [800, 100]).astype(np.int32), np.arange(900))
    sampler = NegativeSampler(NegativesConfig(kind="sampled", count=20_000, power=1.0), past, 3, corrected=True)
    columns = sampler.columns(np.array([2], np.int32), np.zeros(1, np.int32), np.random.default_rng(0))
    found = np.bincount(columns.codes[1:], minlength=3) / 20_000
    np.testing.assert_allclose(found, np.array([801, 101, 1]) / 903, atol=0.01)


def inputs_of(item, mask):
    return {
        "user.group": torch.tensor([1, 2]),
        "history.item_id": torch.tensor([[2, 3, 0], [4, 0, 0]]),
        "history.genre": torch.tensor([[1, 2, 0], [2, 0, 0]]),
        "history.mask": mask,
        **item,
    }


def test_scores_of_the_factorisation_machine_are_those_of_its_formula():
    user = (Field("user.group", 3, 1, "user.group"),)
    fields = (Field("item.item_id", 6, 1, "item.item_id"), Field("item.genre", 3, 1, "item.genre"))
    model = FMTowers(user, fields, FMConfig(kind="fm", embedding_dim=4)).eval()
    with torch.no_grad():
        model.bias.weight.normal_()
        model.embeddings.weight[1:].normal_()
    item = {"item.item_id": torch.tensor([2, 5, 3]), "item.genre": torch.tensor([1, 2, 2])}
    inputs = inputs_of(item, torch.tensor([[1.0, 1, 0], [1, 0, 0]]))
    found = model(inputs).detach()

    def vector(name, row):
        field = next(f for f in (*user, *fields, *model.spec.side("history")) if f.name == name)
        return model.embeddings({name: torch.tensor([row])}, [field]).flatten()

    for b, (group, past) in enumerate([(1, [(2, 1), (3, 2)]), (2, [(4, 2)])]):
        query = vector("user.group", group)
        for code, genre in past:
            query = query + (vector("history.item_id", code) + vector("history.genre", genre)) / len(past)
        for c, (code, genre) in enumerate([(2, 1), (5, 2), (3, 2)]):
            parts = [vector("item.item_id", code), vector("item.genre", genre)]
            bias = sum(
                model.bias({f.name: torch.tensor([row])}, [f]).sum()
                for f, row in zip(fields, (code, genre), strict=True)
            )
            expected = sum(query @ part for part in parts) + bias
            expected += sum(one @ other for one, other in combinations(parts, 2))
            assert float(found[b, c]) == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_past_items_share_the_table_of_candidates_or_not(shared):
    fields = (Field("item.item_id", 6, 1, "item.item_id"),)
    model = TwoTower((), fields, SASRecConfig(kind="sasrec", embedding_dim=4, shared_items=shared))
    assert len(model.embeddings.weight) == (6 if shared else 11)


def test_every_state_asks_as_the_last_one_of_a_shorter_history_would():
    fields = (Field("item.item_id", 6, 1, "item.item_id"),)
    model = TwoTower((), fields, SASRecConfig(kind="sasrec", embedding_dim=4, history_length=3)).eval()
    mask = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    past = {"history.item_id": torch.tensor([[2, 3, 4], [5, 2, 0]]), "history.mask": mask}
    every = model.query({**past, "states.at": torch.tensor([0, 1, 2, 3, 4])})
    for at, (row, length) in enumerate([(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]):
        one = {
            "history.item_id": past["history.item_id"][row : row + 1] * (torch.arange(3) < length),
            "history.mask": (torch.arange(3) < length).float().unsqueeze(0),
        }
        assert torch.allclose(model.query(one)[0], every[at], atol=1e-5)


def problems(settings, ordered=True):
    route = TypeAdapter(RouteConfig).validate_python(settings)
    facts = LogFacts(ordered, "", {"user": ["age"], "item": ["item_id", "price"]}, {})
    return [str(problem) for problem in route.problems(facts)]


def training_data(past):
    fields = (Field("item.item_id", ITEMS + 2, 1, "item.item_id"),)
    item = {"item.item_id": np.arange(ITEMS) + 2}
    return TrainingData(past, np.zeros(len(past.items), np.int64), {}, item, (), fields, ITEMS, False, 0)


def test_with_a_warm_start_one_item_asks_as_the_factorisation_would():
    data = training_data(histories([9] * 40))
    als = ALSConfig(kind="als", embedding_dim=4, epochs=3)
    config = YouTubeDNNConfig(kind="youtube_dnn", embedding_dim=4, hidden=(), similarity="dot", dropout=0)
    model = TwoTower((), data.item_fields, config).eval()
    _start_from_factors(model, als, data, seed=0)
    item = {"item.item_id": torch.arange(ITEMS) + 2}
    past = {"history.item_id": torch.arange(ITEMS)[:, None] + 2, "history.mask": torch.ones(ITEMS, 1)}
    found = model({**past, **item}).detach().numpy()
    served = fit_route(als, data, FitContext(0, None, None, None, None))
    asked = QueryBatch(np.arange(ITEMS, dtype=np.int32)[:, None], np.ones(ITEMS, np.int32), {})
    expected = served.score(asked, np.tile(np.arange(ITEMS, dtype=np.int32), (ITEMS, 1)))
    # The same up to a factor for each row.
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine == pytest.approx(np.ones(ITEMS), abs=1e-4)


def test_hard_negatives_are_what_the_towers_find_first_and_the_user_does_not_have():
    data = training_data(histories([5, 0, 12, 3]))
    negatives = {"kind": "in_batch", "hard": 50, "hard_depth": 4}
    config = DSSMConfig(kind="dssm", embedding_dim=4, negatives=negatives)
    model = TwoTower((), data.item_fields, config)
    assembler = Assembler(data.item_features, InputSpec((*model.spec.fields, *data.item_fields), 5))
    users = np.array([0, 2, 3], np.int32)
    codes, lengths = data.histories.batch(users)
    query = assembler.query_inputs(QueryBatch(codes, lengths, {}))
    mined = HardNegatives(model, assembler, data, config).mine(query, users, np.random.default_rng(0))
    assert model.training
    scores = model.eval()({**as_tensors(query), "item.item_id": torch.arange(ITEMS) + 2}).detach().numpy()
    for row, user in enumerate(users):
        own = data.histories.items[data.histories.offsets[user] : data.histories.offsets[user + 1]]
        scores[row, own] = -np.inf
        assert set(mined[row].tolist()) == set(np.argsort(-scores[row])[:4].tolist())


def test_a_user_who_has_everything_has_no_hard_negatives():
    past = Histories(np.array([0, ITEMS]), np.arange(ITEMS, dtype=np.int32), np.arange(ITEMS))
    data = training_data(past)
    config = DSSMConfig(kind="dssm", embedding_dim=4, negatives={"kind": "in_batch", "hard": 3})
    model = TwoTower((), data.item_fields, config)
    assembler = Assembler(data.item_features, InputSpec((*model.spec.fields, *data.item_fields), 5))
    query = assembler.query_inputs(QueryBatch(past.items[None, :5], np.array([5], np.int32), {}))
    mined = HardNegatives(model, assembler, data, config).mine(query, np.zeros(1, np.int32), np.random.default_rng(0))
    assert mined.tolist() == [[-1, -1, -1]]


def test_options_that_do_not_go_together_are_named():
    assert problems({"kind": "sasrec", "embedding_dim": 9}) == [
        "encoder.heads: found 2, expected a divisor of embedding_dim = 9"
    ]
    assert problems({"kind": "simplex", "similarity": "dot"}) == [
        "similarity: found dot, expected cosine: loss.kind is cosine_contrastive, whose margin is one"
    ]
    assert problems({"kind": "sasrec", "negatives": {"kind": "all", "hard": 2}}) == [
        "negatives.hard: found 2, expected 0: negatives.kind is all, so every item is a negative"
    ]
    by_user = {"kind": "dssm", "requests": "user", "encoder": {"kind": "mean"}}
    assert problems({**by_user, "negatives": {"kind": "all"}}) == []
    assert problems(by_user) == [
        "requests: found user, expected event: only the softmax loss with negatives of kind all has several positives"
    ]
    assert problems({**by_user, "negatives": {"kind": "all"}, "encoder": {"kind": "decay"}}) == [
        "requests: found user, expected event: the encoder decay reads an order that halves do not have"
    ]
    warm = {"kind": "youtube_dnn", "warm_start": {"kind": "als", "embedding_dim": 32}}
    assert problems({**warm, "embedding_dim": 32}) == []
    assert problems({**warm, "shared_items": True, "item_fields": ["price"]}) == [
        "warm_start.embedding_dim: found 32, expected 64 as of the towers",
        "warm_start: found item fields without item_id, which is what gets the factors; name it, or set "
        "warm_start: null",
        "shared_items: found true, expected false: past items and candidates begin with vectors of their own",
    ]
    assert "user_fields.0: found 'aeg', expected a field of features.user; did you mean age?" in problems(
        {"kind": "dssm", "user_fields": ["aeg"]}
    )


@pytest.mark.parametrize("kind", ["dssm", "sasrec", "gru4rec"])
def test_encoders_that_need_order_say_so(kind):
    (problem,) = problems({"kind": kind}, ordered=False)
    assert problem.startswith(f"kind: found {kind}, but data.order is none: it learns the next item")


def test_means_do_without_order():
    assert problems({"kind": "youtube_dnn"}, ordered=False) == []
    assert DSSMConfig(kind="dssm").encoder.kind == "decay"
