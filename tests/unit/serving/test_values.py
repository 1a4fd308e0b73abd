"""From files to HTTP: a value in a request moves the score as the same value in a table does, whatever its type."""

import csv
import dataclasses
import json
import runpy
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from recsys.data.config import DataConfig
from recsys.data.ingest import ingest
from recsys.data.tables import Dataset
from recsys.features.batch import InputSpec
from recsys.features.config import FeaturesConfig
from recsys.features.encoder import FeatureEncoder
from recsys.funnel.parts import Ranker
from recsys.release.build import build_bundle
from recsys.scoring.onnx import OnnxScorer
from recsys.serving.app import create_app

MOMENT = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
SECONDS = 1_709_210_096
# By column: its kind, its values in Parquet, and ways to send the first of them.
COLUMNS = {
    "vip": ("categorical", [False, True, False], [False, "false", "False", " FALSE "]),
    "level": ("categorical", [5, 7, 9], [5, 5.0, "5", "5.0"]),
    "big": ("categorical", [2**53 + 1, 2**53, 7], [2**53 + 1, str(2**53 + 1)]),
    "zip": ("categorical", ["05", "5", "1"], ["05", " 05"]),
    "share": ("numeric", pa.array([0.1, 0.2, 5.0], pa.float32()), [0.1, "0.1", "1e-1"]),
    "price": ("numeric", [Decimal("2.50"), Decimal("7.25"), Decimal("9.00")], [2.5, "2.50", " 2.5 "]),
    "member": ("numeric", [True, False, False], [True, 1, 1.0, "1", "true", "True"]),
    "tags": ("multi_categorical", [["a", "b"], ["c"], []], [["a", "b"], "a b", ["a", None, " b ", ""]]),
    "codes": ("multi_categorical", [[1, 2], [3], []], [[1, 2], ["1", "2"], [1.0, 2.0], "1 2"]),
    "joined": ("timestamp", [MOMENT, datetime(2023, 1, 1), datetime(2022, 1, 2)], [MOMENT.isoformat(), SECONDS]),
    "born": ("timestamp", [date(2001, 2, 3), date(1960, 1, 1), date(1999, 9, 9)], ["2001-02-03", 20010203]),
    "seen": ("timestamp", [SECONDS * 1000, 1_600_000_000_000, 1_500_000_000_000], [SECONDS * 1000, MOMENT.isoformat()]),
    "day": ("timestamp", [20240229, 20230101, 20220102], [20240229, "20240229", "2024-02-29"]),
    "german": ("timestamp", ["29.02.2024", "01.01.2023", "31.12.2022"], ["29.02.2024", "2024-02-29"]),
}
TRANSFORMS = {
    "numeric": ["standard", "min_max", "log", "quantile"],
    "categorical": ["categorical", "hashed"],
    "multi_categorical": ["multi_categorical"],
    "timestamp": ["time"],
}


def as_cell(value):
    """What a CSV writer makes of a value."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value.isoformat() if isinstance(value, date | datetime) else value


def write(folder, form, name, columns):
    if form == "parquet":
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        return
    cells = [[as_cell(v) for v in pa.array(column).to_pylist()] for column in columns.values()]
    cells = [[f"{v:.4g}" if isinstance(v, float) else v for v in column] for column in cells]
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*cells, strict=True)])


def features(kinds):
    """Every transform of every column."""
    return {
        f"{column}_{transform}": {"kind": transform, "column": column}
        for column, kind in kinds.items()
        for transform in TRANSFORMS[kind]
    }


@pytest.fixture(scope="module", params=["parquet", "csv"])
def bundle(request, tiny_parts, tiny_info, tmp_path_factory):
    """A bundle whose ranker reads every column of the users table, and as context: ingested from files."""
    folder, form = tmp_path_factory.mktemp(request.param), request.param
    kinds = {column: kind for column, (kind, _, _) in COLUMNS.items()}
    values = {column: pa.array(cells) for column, (_, cells, _) in COLUMNS.items()}
    events = {
        "user_id": ["a", "b", "c"],
        "item_id": ["i1", "i2", "i3"],
        "timestamp": [SECONDS, SECONDS + 1, SECONDS + 2],
    }
    write(folder, form, "events", {**events, **values})
    write(folder, form, "users", {"user_id": ["a", "b", "c"], **values})
    data = DataConfig.model_validate(
        {
            "interactions": {"path": str(folder / f"events.{form}"), "context": {**kinds, "timestamp": "timestamp"}},
            "users": {"path": str(folder / f"users.{form}"), "columns": kinds},
        }
    )
    ingest(data, folder / "tables")
    dataset = Dataset.load(folder / "tables")
    context = {**features(kinds), "hour": {"kind": "time", "column": "timestamp"}}
    chosen = FeaturesConfig.model_validate({"user": features(kinds), "context": context})
    encoder = FeatureEncoder.fit(chosen, data, dataset, np.ones(3, dtype=bool))
    stored = encoder.encode("user", dataset.users)
    spec = InputSpec((*encoder.fields("user"), *encoder.fields("context")), 5)
    tiny = runpy.run_path(str(Path(__file__).parents[1] / "tiny.py"))
    model = folder / "ranker.onnx"
    tiny["onnx"].save(tiny["tiny_ranker"](spec, np.random.default_rng(0)), model)
    users = len(tiny_parts.users)
    parts = dataclasses.replace(
        tiny_parts,
        encoder=encoder,
        ranker=Ranker(OnnxScorer(model), spec),
        user_features={name: np.resize(array, (users, *array.shape[1:])) for name, array in stored.items()},
    )
    return build_bundle(parts, tiny_info, folder / "bundles"), encoder, dataset


@pytest.fixture(scope="module")
def client(bundle):
    with TestClient(create_app(bundle[0])) as client:
        yield client


def score(client, **body):
    answer = client.post("/v1/recommend", json={"allowed": ["i1"], "k": 1, **body})
    assert answer.status_code == 200, answer.json()
    return answer.json()["items"][0]["score"]


@pytest.mark.parametrize("side", ["features", "context"])
@pytest.mark.parametrize("column", COLUMNS)
def test_every_way_to_send_a_value_is_the_value_of_the_file(client, bundle, side, column):
    _, encoder, dataset = bundle
    name, table = ("user", dataset.users) if side == "features" else ("context", dataset.interactions)
    encoded = {field: rows[0] for field, rows in encoder.encode(name, table).items()}
    sent = COLUMNS[column][2]
    for value in sent:
        (found,) = (encoder.encode_values(name, column, [json.loads(json.dumps(value))]),)
        for field, rows in found.items():
            np.testing.assert_array_equal(rows[0], encoded[field], err_msg=f"{field} of {value!r}")
    scores = [score(client, **{side: {column: value}}) for value in sent]
    assert scores == pytest.approx([scores[0]] * len(sent), abs=1e-5)
    assert score(client, **{side: {column: None}}) == pytest.approx(score(client), abs=1e-5)
    assert scores[0] != pytest.approx(score(client), abs=1e-4)


def test_the_time_of_the_event_may_be_context(client):
    assert score(client, context={"timestamp": SECONDS}) == pytest.approx(
        score(client, context={"timestamp": "2024-02-29T12:34:56Z"}), abs=1e-5
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("seen", SECONDS, f"found {SECONDS}, expected a time such as 2024-12-31T18:00:00Z, or milliseconds since 1970"),
        (
            "german",
            "02/28/2024",
            "found '02/28/2024', expected a time such as 2024-12-31T18:00:00Z, or text of",
        ),
        ("joined", True, "found True, expected a time such as 2024-12-31T18:00:00Z"),
        ("joined", [1], "found [1], expected a time"),
        ("price", "much", "found 'much', expected a number, such as 12.5"),
        ("tags", [["a"]], "tags.0: expected text, a number, true, false, null, or a list of these"),
    ],
)
def test_a_value_of_the_wrong_kind_names_column_and_form(client, column, value, message):
    answer = client.post("/v1/recommend", json={"features": {column: value}})
    assert answer.status_code == 422
    assert column in answer.json()["error"]
    assert message.split("tags.0: ")[-1] in answer.json()["error"]


def test_the_document_lists_the_columns_of_the_bundle_and_its_examples_are_answered(client):
    schema = client.get("/openapi.json").json()["components"]["schemas"]["RecommendRequest"]
    for side, names in (("features", [*COLUMNS]), ("context", [*COLUMNS, "timestamp"])):
        described = schema["properties"][side]
        assert list(described["properties"]) == names
        assert described["additionalProperties"] is False
        for column, about in described["properties"].items():
            assert about["description"].startswith("Send ")
            assert {"type": "null"} in about["anyOf"]
            assert about["examples"]
            for example in about["examples"]:
                score(client, **{side: {column: example}})
    columns = schema["properties"]["features"]["properties"]
    types = {name: [one["type"] for one in about["anyOf"]] for name, about in columns.items()}
    assert types["price"] == ["number", "boolean", "null"]
    assert types["vip"] == ["string", "number", "boolean", "null"]
    assert types["tags"] == ["array", "string", "null"]
    assert types["joined"] == ["string", "number", "null"]
    assert client.post("/v1/recommend", json=schema["examples"][0]).status_code == 200


def test_before_a_bundle_is_loaded_the_document_is_the_services_own(bundle):
    client = TestClient(create_app(bundle[0]))  # not entered: nothing has started
    schema = client.get("/openapi.json").json()["components"]["schemas"]["RecommendRequest"]
    assert "properties" not in schema["properties"]["features"]
    with client:
        assert (
            "properties"
            in client.get("/openapi.json").json()["components"]["schemas"]["RecommendRequest"]["properties"]["features"]
        )


def test_a_bundle_that_does_not_say_how_columns_were_read_still_answers(bundle, tmp_path):
    """Format 1 of the features: kinds follow from the transforms."""
    encoder = bundle[1]
    encoder.save(tmp_path)
    spec = json.loads((tmp_path / "spec.json").read_text(encoding="utf-8"))
    assert (spec["format"], set(spec.pop("columns"))) == (2, {"user", "item", "context"})
    (tmp_path / "spec.json").write_text(json.dumps({**spec, "format": 1}), encoding="utf-8")
    old = FeatureEncoder.load(tmp_path)
    for column in ("vip", "level", "share", "tags", "joined"):
        for value in COLUMNS[column][2]:
            for field, rows in old.encode_values("user", column, [value]).items():
                np.testing.assert_array_equal(rows, encoder.encode_values("user", column, [value])[field])
    assert old.read_ids("user", [" a ", None]) == ["a", None]
