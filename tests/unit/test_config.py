"""The root configuration: what contradicts itself is refused, each with its place and its message."""

import copy

import pytest

from recsys.config import Config
from recsys.errors import ConfigError, ProtocolError
from recsys.settings import content_hash, dump_settings, load_settings
from recsys.yaml_text import render

BASE = {
    "name": "shop",
    "workspace": "workspace/shop",
    "data": {
        "interactions": {"path": "log.csv", "labels": ["stars"], "context": {"device": "categorical"}},
        "users": {"path": "users.csv", "columns": {"age": "numeric", "bio": "text", "joined": "timestamp"}},
        "items": {"path": "items.csv", "columns": {"price": "numeric", "tags": {"kind": "multi_categorical"}}},
    },
    "split": {"kind": "per_user"},
    "routes": {"popular": {"kind": "popular"}, "cf": {"kind": "itemcf"}},
}
UNORDERED = {
    "data.order": "none",
    "split": {"kind": "random"},
    "routes": {"popular": {"kind": "popular", "half_life_days": None}},
}


def changed(changes):
    data = copy.deepcopy(BASE)
    for path, value in changes.items():
        node = data
        *way, last = path.split(".")
        for key in way:
            node = node.setdefault(key, {})
        node[last] = value
    return data


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(changes):
        (tmp_path / "x.yaml").write_text(render(changed(changes)), encoding="utf-8")
        return load_settings(Config, "x.yaml", environ={})

    return read


def lines(error):
    """The messages without file and line: those are tested with the machinery."""
    return [line.split(": ", 1)[1] for line in str(error.value).splitlines()]


BROKEN_PROTOCOLS = [
    (
        {**UNORDERED, "split": {"kind": "per_user"}},
        "split.kind: found per_user with data.order: none, expected random; give the log a timestamp, "
        "or set data.order: row if its rows are in order",
    ),
    (
        {**UNORDERED, "routes": {"hot": {"kind": "popular", "half_life_days": 30}}},
        "routes.hot.half_life_days: found 30, expected null: data.order is none, so no event is older than another",
    ),
    (
        {**UNORDERED, "routes": {"cf": {"kind": "itemcf", "distance_decay": 0.95}}},
        "routes.cf.distance_decay: found 0.95, expected 1: data.order is none, so no event is nearer than another",
    ),
    (
        {**UNORDERED, "routes": {"cf": {"kind": "itemcf", "query_decay": 0.8}}},
        "routes.cf.query_decay: found 0.8, expected 1: data.order is none, so no event is nearer than another",
    ),
    (
        {**UNORDERED, "routes": {"two": {"kind": "dssm", "encoder": {"kind": "gru"}}}},
        "routes.two.encoder.kind: found gru, but data.order is none: it reads the history in order; "
        "expected mean or attention",
    ),
    (
        {**UNORDERED, "routes": {"next": {"kind": "sasrec"}}},
        "routes.next.kind: found sasrec, but data.order is none: it learns the next item from those before; "
        "set data.order: row if the rows are in order, or use itemcf or popular",
    ),
    (
        {**UNORDERED, "ranking": {"model": {"kind": "din"}, "samples": {"per": "event"}}},
        "ranking.samples.per: found event, but data.order is none: no event comes before another; expected window",
    ),
    (
        {
            "data.order": "row",
            "data.interactions.timestamp": None,
            "split": {"kind": "global_time"},
            "routes": {"cf": {"kind": "itemcf"}},
        },
        "split.kind: found global_time, but data.interactions.timestamp is null: there is no moment to cut at; "
        "name the column with the time, or use per_user",
    ),
    (
        {
            "data.order": "row",
            "data.interactions.timestamp": None,
            "routes": {"hot": {"kind": "popular", "half_life_days": 30}},
        },
        "routes.hot.half_life_days: found 30, expected null: data.interactions.timestamp is null, "
        "so no event is older than another",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN_PROTOCOLS)
def test_a_configuration_that_breaks_its_own_protocol_is_refused(load, changes, message):
    with pytest.raises(ProtocolError) as caught:
        load(changes)
    assert lines(caught) == [message]


TASKS = {"liked": {"label": "stars", "at_least": 4}, "loved": {"label": "stars", "at_least": 5}}
ROWS = {"data.positive": {"label": "stars", "at_least": 4}}
BALANCED = {"kind": "events", "negatives_per_positive": 4}
SMOTE = {**BALANCED, "imbalance": "smote"}
OLD = {"weights": {"half_life_days": 7}}
CONTRADICTIONS = [
    (
        {"data.interactions.item_id": "user_id"},
        "data.interactions.item_id: found 'user_id', which is the user_id already; expected another column",
    ),
    (
        {"data.interactions.user_id": "stars"},
        "data.interactions.labels.0: found 'stars', which is the user_id already; expected another column",
    ),
    (
        {"data.positive": {"label": "star", "at_least": 4}},
        "data: positive.label is 'star'; expected one of interactions.labels: ['stars']",
    ),
    (
        {"split": {"kind": "random", "test": 0}},
        "split.test: found 0, expected a share above 0: nothing could be reported",
    ),
    (
        {"fusion.weights": {"popular": 1, "poplar": 1, "cf": 1}},
        "fusion.weights.poplar: found 'poplar', expected a route; did you mean popular?",
    ),
    (
        {"fusion.weights": {"popular": 1, "xyz": 1, "cf": 1}},
        "fusion.weights.xyz: found 'xyz', expected a route; known are cf, popular",
    ),
    ({"fusion.weights": {"popular": 1}}, "fusion.weights: no weight for cf; expected one for every route"),
    ({"fusion.weights": {"popular": 0, "cf": 0}}, "fusion.weights: found only zeros, expected a weight above 0"),
    (
        {"split": {"kind": "per_user", "rank": 0}, "fusion.weights": "fitted"},
        "fusion.weights: found fitted, but split.rank is 0: no events to fit them on; "
        "expected equal, or a weight for every route",
    ),
    (
        {"fusion.candidates": 60, "evaluation.ks": [10, 100]},
        "fusion.candidates: found 60, expected at least 100, the largest of evaluation.ks; "
        "raise it, or report only k up to 60",
    ),
    (
        {"fusion.per_route": 10, "evaluation.ks": [20, 5]},
        "fusion.per_route: found 10, expected at least 20, the largest of evaluation.ks; "
        "raise it, or report only k up to 10",
    ),
    (
        {"features.user": {"aeg": {"kind": "log"}}},
        "features.user.aeg: found 'aeg', expected a column of data.users.columns; did you mean age?",
    ),
    (
        {"features.item": {"item_id": {"kind": "hashed"}, "colour": {"kind": "hashed"}}},
        "features.item.colour: found 'colour', expected a column of data.items.columns; known are item_id, price, tags",
    ),
    (
        {"features.context": {"devise": {"kind": "categorical"}}},
        "features.context.devise: found 'devise', expected a column of data.interactions.context; did you mean device?",
    ),
    (
        {"features.user": {"bio": {"kind": "categorical"}}},
        "features.user.bio.kind: found categorical, but the column is text; "
        "expected a data.users.columns of kind categorical or numeric",
    ),
    (
        {"features.user": {"age": {"kind": "time"}}},
        "features.user.age.kind: found time, but the column is numeric; "
        "expected a data.users.columns of kind timestamp",
    ),
    (
        {"features.history.fields": ["item_id", "tag"]},
        "features.history.fields.1: found 'tag', expected a field of features.item; did you mean tags?",
    ),
    (
        {"features.item": {"item_id": {"kind": "categorical"}}, "features.history.fields": ["price"]},
        "features.history.fields.0: found 'price', expected a field of features.item; known are item_id",
    ),
    (
        {"routes": {"two": {"kind": "dssm", "user_fields": ["age", "jined"]}}},
        "routes.two.user_fields.1: found 'jined', expected a field of features.user; did you mean joined?",
    ),
    (
        {"routes": {"two": {"kind": "als", "index": "hnws"}}},
        "routes.two.index: found 'hnws', expected one of flat, ivf, hnsw, pq, ivf_pq, sq, auto; did you mean hnsw?",
    ),
    (
        {"routes": {"two": {"kind": "als", "index": {"kind": 3}}}},
        "routes.two.index.kind: found 3, expected one of flat, ivf, hnsw, pq, ivf_pq, sq, auto",
    ),
    (
        {"routes": {"two": {"kind": "als", "index": {"nprobe": 3}}}},
        "routes.two.index.kind: required, but missing; expected one of flat, ivf, hnsw, pq, ivf_pq, sq, auto",
    ),
    (
        {"routes": {"two": {"kind": "dssm", "user_fields": ["user_id"]}}},
        "routes.two.user_fields.0: found 'user_id', expected a field of features.user; known are age, joined",
    ),
    (
        {"routes": {"two": {"kind": "dssm", "item_fields": ["bio"]}}},
        "routes.two.item_fields.0: found 'bio', expected a field of features.item; known are item_id, price, tags",
    ),
    (
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "ranking": {"model": {"kind": "fm"}, "samples": {"kind": "events"}, "loss": "bce + 0.1 * lambdarank"},
        },
        "ranking.loss: found lambdarank, which compares the candidates of a request, but ranking.samples.kind is "
        "events and data.interactions.request_id is null: every row is a request of its own; name the column, use "
        "samples of kind candidates and a split.rank, or a loss of single rows: bce, focal, mse",
    ),
    (
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "ranking": {"model": {"kind": "lambdamart"}, "samples": {"kind": "events"}},
        },
        "ranking.model.kind: found lambdamart, which compares the candidates of a request, but ranking.samples.kind is "
        "events and data.interactions.request_id is null: every row is a request of its own; name the column, use "
        "samples of kind candidates and a split.rank, or gbdt",
    ),
    (
        {"ranking": {"model": {"kind": "gbdt"}, "loss": "focal"}},
        "ranking.loss: found a loss, but gbdt has one of its own; leave it out",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm"}, "samples": {"kind": "events"}}},
        "ranking.samples.kind: found events, but data.positive is null: every row would be a positive and nothing "
        "a negative; set data.positive, or use candidates",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm"}}, "split": {"kind": "per_user", "rank": 0}, "fusion.weights": "equal"},
        "ranking.samples.kind: found candidates, but split.rank is 0: no request to sample; "
        "give it a share, or use events (ranking.samples is not set: this is about its default)",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm"}}, "split": {"kind": "per_user", "valid": 0}},
        "split.valid: found 0, but a ranker is trained until the valid window says to stop; give it a share",
    ),
    (
        {"ranking": {"model": {"kind": "dien"}}, "features.history.fields": []},
        "ranking.model.kind: found dien, which compares past items with the candidate, but features.history.fields is "
        "empty; name item_id there",
    ),
    (
        {"ranking": {"model": {"kind": "bst", "history_length": 10_000}}},
        "ranking.model.history_length: found 10000, expected at most 200",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"weights": {"value": "star"}}}},
        "ranking.samples.weights.value: found 'star', expected a label of data.interactions.labels; "
        "did you mean stars?",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"weights": {"propensity": True}}}},
        "ranking.samples.weights.propensity: found true, but data.interactions.propensity is null; name the column",
    ),
    (
        {
            "data.order": "row",
            "data.interactions.timestamp": None,
            "routes": {"two": {"kind": "dssm"}},
            "ranking": {"model": {"kind": "fm"}, "samples": {"weights": {"half_life_days": 7}}},
        },
        "ranking.samples.weights.half_life_days: found 7, expected null: data.interactions.timestamp is null, so no "
        "event is older than another",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"imbalance": "class_weight"}}},
        "ranking.samples.imbalance: found class_weight without negatives_per_positive; say the ratio to reach, such "
        "as 4",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"imbalance": "over_sample", "negatives_per_positive": 1}}},
        "ranking.samples.imbalance: found over_sample with samples of kind candidates, whose negatives are drawn, "
        "in any number that is asked for; expected under_sample or class_weight",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "fm"}, "samples": {"kind": "events", "popularity_negatives": 9}}},
        "ranking.samples.popularity_negatives: found 9 with samples of kind events, whose negatives are rows of the "
        "log; expected 0, or kind: candidates",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "fm"}, "samples": {"kind": "events", "logq": True}}},
        "ranking.samples.logq: found true with samples of kind events: negatives_per_positive corrects by itself; "
        "leave it out",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"candidate_negatives": 0, "logq": True}}},
        "ranking.samples.logq: found true with candidate_negatives: 0: positives are candidates, and no other "
        "candidate could be drawn; expected candidate_negatives of at least 1",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"logq": True}, "loss": "bce + lambdarank"}},
        "ranking.samples.logq: found true with lambdarank at ranking.loss, expected bce, softmax, infonce, ranknet, "
        "bpr, at a temperature of 1: only scores that are logarithms of chances can be corrected for other chances",
    ),
    (
        {"ranking": {"model": {"kind": "lambdamart"}, "samples": {"logq": True}}},
        "ranking.samples.logq: found true with lambdamart, whose scores are no log-odds; leave it out, or use gbdt",
    ),
    (
        {"ranking": {"model": {"kind": "ple"}, "samples": {"logq": True}, "tasks": TASKS}},
        "ranking.samples.logq: found true with ranking.tasks: negatives are drawn among what is no positive of "
        "data.positive, and tasks have others; leave it out",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "ple"}, "samples": BALANCED, "tasks": TASKS}},
        "ranking.samples.negatives_per_positive: found 4 with ranking.tasks: each has positives of its own, and no "
        "ratio could be corrected for all; leave it out",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "fm"}, "samples": BALANCED, "loss": "mse"}},
        "ranking.samples.negatives_per_positive: found 4 with mse at ranking.loss: scores are labels there, and "
        "another ratio means other labels; leave it out, or use bce",
    ),
    (
        {
            **ROWS,
            "data.interactions.request_id": "request",
            "ranking": {"model": {"kind": "fm"}, "samples": {**BALANCED, "imbalance": "over_sample"}},
        },
        "ranking.samples.imbalance: found over_sample with data.interactions.request_id: nobody was shown such lists; "
        "expected class_weight, which says the same",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "fm", "exclude": ["item.item_id", "item.tags"]}, "samples": SMOTE}},
        "ranking.samples.imbalance: found smote, but the ranker reads user.joined, which is time: half way between two "
        "categories is nothing; name it in ranking.model.exclude, or use class_weight\n"
        "ranking.samples.imbalance: found smote, but the ranker reads context.device, which is categorical: half way "
        "between two categories is nothing; name it in ranking.model.exclude, or use class_weight",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "din", "fields": ["item.price"]}, "samples": SMOTE}},
        "ranking.samples.imbalance: found smote with din, which reads a history: half way between two histories is "
        "nothing; use class_weight, or a ranker that reads none",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "lr", "fields": ["item.price"]}, "samples": {**SMOTE, **OLD}}},
        "ranking.samples.weights: found weights with smote: what is made up has no age, value or place; leave them out",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "samples": {"logq": True, "hard_negatives": 5}}},
        "ranking.samples.hard_negatives: found 5 with logq, which corrects for chances, and the hardest are not left "
        "to chance; leave one of them out",
    ),
    (
        {**ROWS, "ranking": {"model": {"kind": "fm"}, "samples": {"kind": "events", "hard_negatives": 5}}},
        "ranking.samples.hard_negatives: found 5 with samples of kind events, but data.interactions.request_id is "
        "null: every row is a group of its own; name the column, or use candidates",
    ),
    (
        {"ranking": {"model": {"kind": "gbdt"}, "samples": {"hard_negatives": 5}}},
        "ranking.samples.hard_negatives: found 5 with gbdt, which has no epochs to mine for; leave it out",
    ),
    (
        {"ranking": {"model": {"kind": "ple"}, "samples": {"hard_negatives": 5}, "tasks": TASKS}},
        "ranking.samples.hard_negatives: found 5 with ranking.tasks: what is a negative of one may be a positive of "
        "another; leave it out",
    ),
    (
        {
            **ROWS,
            "ranking": {
                "model": {"kind": "lr", "fields": ["item.price"]},
                "samples": SMOTE,
                "teacher": {"model": {"kind": "fm"}},
            },
        },
        "ranking.samples.imbalance: found smote with ranking.teacher, which has no scores for what is made up; use "
        "class_weight",
    ),
    (
        {"ranking": {"model": {"kind": "ple"}, "tasks": TASKS, "loss": "mse"}},
        "ranking.loss: found mse with a score above 0: lists are ordered by a product of probabilities, and scores of "
        "mse are no log-odds; expected score: 0, or bce",
    ),
    (
        {"ranking": {"model": {"kind": "gbdt"}, "teacher": {"model": {"kind": "fm"}}}},
        "ranking.teacher: found one, but gbdt learns from labels alone; leave it out",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "teacher": {"model": {"kind": "gbdt"}}}},
        "ranking.teacher.model.kind: found gbdt, expected a network",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "teacher": {"model": {"kind": "mmoe"}}}},
        "ranking.teacher.model.kind: found mmoe, expected a model of as many tasks as fm learns",
    ),
    (
        {"ranking": {"model": {"kind": "fm"}, "teacher": {"model": {"kind": "fm", "fields": ["item.pric"]}}}},
        "ranking.teacher.model.fields.0: found 'item.pric', expected a model input; did you mean item.price?",
    ),
    (
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "ranking": {
                "model": {"kind": "fm"},
                "samples": {"kind": "events"},
                "teacher": {"model": {"kind": "deepfm"}, "over": "list"},
            },
        },
        "ranking.teacher.over: found list, but every row is a request of its own: data.interactions.request_id is "
        "null; expected entry",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm"}, "tasks": TASKS}},
        "ranking.tasks: found tasks, but deepfm learns one; expected a model of shared_bottom, mmoe, ple, esmm",
    ),
    (
        {"ranking": {"model": {"kind": "mmoe"}, "tasks": {"liked": {"label": "stars"}}}},
        "ranking.tasks: found 1, expected at least 2: mmoe learns several tasks",
    ),
    (
        {"ranking": {"model": {"kind": "esmm"}}},
        "ranking.tasks: found 0, expected exactly 2, the click and the conversion: esmm learns several tasks "
        "(ranking.tasks is not set: this is about its default)",
    ),
    (
        {"ranking": {"model": {"kind": "mmoe"}, "tasks": {**TASKS, "bought": {"label": "star"}}}},
        "ranking.tasks.bought.label: found 'star', expected a label of data.interactions.labels; did you mean stars?",
    ),
    (
        {"ranking": {"model": {"kind": "ple"}, "tasks": {name: {**t, "score": 0} for name, t in TASKS.items()}}},
        "ranking.tasks: every score is 0, so all candidates would score alike; expected one above 0",
    ),
    (
        {"ranking": {"model": {"kind": "ple"}, "tasks": TASKS, "samples": {"per": "event"}}},
        "ranking.samples.per: found event with ranking.tasks, expected window: a task's labels are of the window",
    ),
    (
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "ranking": {
                "model": {"kind": "ple"},
                "samples": {"kind": "events"},
                "tasks": {**TASKS, "rated": {"label": "stars", "loss": "listnet"}},
            },
        },
        "ranking.tasks.rated.loss: found listnet, which compares the candidates of a request, but ranking.samples.kind "
        "is events and data.interactions.request_id is null: every row is a request of its own; name the column, use "
        "samples of kind candidates and a split.rank, or a loss of single rows: bce, focal, mse",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm", "fields": ["user.age", "item.prise"]}}},
        "ranking.model.fields.1: found 'item.prise', expected a model input; did you mean item.price?",
    ),
    (
        {"ranking": {"model": {"kind": "widedeep", "crosses": [["user.age", "item.tags"], ["user.age", "item.tag"]]}}},
        "ranking.model.crosses.1.1: found 'item.tag', expected a model input; did you mean item.tags?",
    ),
    (
        {"ranking": {"model": {"kind": "deepfm", "fields": ["route.fc.rank"]}}},
        "ranking.model.fields.0: found 'route.fc.rank', expected a model input; did you mean route.cf.rank?",
    ),
]


@pytest.mark.parametrize(("changes", "message"), CONTRADICTIONS)
def test_a_configuration_that_contradicts_itself_is_refused(load, changes, message):
    with pytest.raises(ConfigError) as caught:
        load(changes)
    assert lines(caught) == message.split("\n")
    assert type(caught.value) is ConfigError


@pytest.mark.parametrize(
    "changes",
    [
        {},
        UNORDERED,
        {**UNORDERED, "routes": {"cf": {"kind": "itemcf", "distance_decay": 1, "query_decay": 1}}},
        {"split": {"kind": "random"}, "routes": {"two": {"kind": "dssm"}, "hot": {"kind": "popular"}}},
        {"split": {"kind": "leave_last_out"}, "ranking": {"model": {"kind": "din"}, "samples": {"per": "event"}}},
        {"split": {"kind": "random", "rank": 0}, "routes": {"hot": {"kind": "popular"}}},
        {"fusion.weights": {"popular": 0, "cf": 1}},
        {"data.users": None, "features.user": {"user_id": {"kind": "hashed"}}},
        {"features.history.fields": ["tags", "price"]},
        {"routes": {"two": {"kind": "dssm", "user_fields": ["age"], "item_fields": ["item_id", "tags"]}}},
        {
            "ranking": {
                "model": {
                    "kind": "deepfm",
                    "fields": [
                        "user.age",
                        "context.device",
                        "history.item_id",
                        "route.cf.rank",
                        "route.match.tags",
                    ],
                }
            }
        },
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "ranking": {"model": {"kind": "deepfm"}, "samples": {"kind": "events"}},
        },
        {
            "data.positive": {"label": "stars", "at_least": 4},
            "data.interactions.request_id": "request",
            "ranking": {"model": {"kind": "fm"}, "samples": {"kind": "events"}, "loss": "bce + 0.1 * lambdarank"},
        },
        {**ROWS, "ranking": {"model": {"kind": "fm"}, "samples": {**BALANCED, "imbalance": "over_sample"}}},
        {**ROWS, "ranking": {"model": {"kind": "fm", "fields": ["item.price", "user.age"]}, "samples": SMOTE}},
        {"ranking": {"model": {"kind": "fm"}, "samples": {"logq": True}, "loss": "bce + 0.5 * softmax"}},
        {"ranking": {"model": {"kind": "fm"}, "loss": [{"kind": "hinge", "hardest": 5}, "0.5 * mse"]}},
    ],
)
def test_what_agrees_with_itself_loads_and_round_trips(load, tmp_path, changes):
    config = load(changes)
    (tmp_path / "y.yaml").write_text(dump_settings(config), encoding="utf-8")
    again = load_settings(Config, tmp_path / "y.yaml", environ={})
    assert again == config
    assert content_hash(again) == content_hash(config)


def test_several_contradictions_come_together(load):
    with pytest.raises(ConfigError) as caught:
        load(
            {
                **UNORDERED,
                "split": {"kind": "per_user"},
                "fusion.candidates": 7,
                "evaluation.ks": [10],
                "fusion.weights": {"popular": 0},
            }
        )
    assert {line.split(":")[0] for line in lines(caught)} == {"split.kind", "fusion.candidates", "fusion.weights"}
