"""The parts of a small real bundle: generated log, popular and neighbours routes, an ONNX ranker made by hand."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse

from recsys.bundle.format import FusionSpec, Policy
from recsys.data.config import DataConfig
from recsys.data.tables import Dataset
from recsys.features.batch import InputSpec
from recsys.features.catalogue import item_catalogue, user_catalogue
from recsys.features.config import FeaturesConfig
from recsys.features.encoder import FeatureEncoder
from recsys.features.history import Histories, events_from
from recsys.funnel.candidates import CandidateGenerator
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.parts import FunnelParts, Ranker
from recsys.funnel.route_features import route_fields
from recsys.retrieval.neighbours import NeighboursRetriever
from recsys.retrieval.static import StaticRetriever
from recsys.scoring.onnx import OnnxScorer

USERS, ITEMS, EVENTS = 24, 40, 300
GENRES = ("drama", "комедия", "sci-fi", 'a b\'s "c"')
DATA = DataConfig.model_validate(
    {
        "interactions": {"path": "interactions.csv"},
        "users": {"path": "users.csv", "columns": {"age": "numeric", "city": "categorical"}},
        "items": {"path": "items.csv", "columns": {"genres": "multi_categorical", "year": "numeric"}},
    }
)


def tiny_dataset(rng: np.random.Generator) -> Dataset:
    """A log in which low-numbered items are popular; the last items are cold, the last user has no events."""
    user = rng.integers(0, USERS - 1, EVENTS)
    item = np.minimum(rng.geometric(0.1, EVENTS) - 1, ITEMS - 4)
    text = pa.large_string()
    interactions = pa.table(
        {
            "user_id": pa.array([f"u{u}" for u in user], text),
            "item_id": pa.array([f"i{i}" for i in item], text),
            "timestamp": pa.array(np.arange(EVENTS) * 3_600_000_000, pa.timestamp("us", tz="UTC")),
            "row": pa.array(np.arange(EVENTS)),
        }
    )
    users = pa.table(
        {
            "user_id": pa.array([f"u{u}" for u in range(USERS)], text),
            "age": pa.array(rng.uniform(15, 70, USERS)),
            "city": pa.array(rng.choice(["Köln", "東京", None], USERS).tolist(), text),
        }
    )
    genres = [sorted(rng.choice(GENRES, rng.integers(0, 3), replace=False).tolist()) for _ in range(ITEMS)]
    items = pa.table(
        {
            "item_id": pa.array([f"i{i}" for i in range(ITEMS)], text),
            "genres": pa.array(genres, pa.large_list(text)),
            "year": pa.array(rng.uniform(1950, 2000, ITEMS)),
        }
    )
    return Dataset(interactions, users, items)


def tiny_ranker(spec: InputSpec, rng: np.random.Generator) -> onnx.ModelProto:
    """logit = Σ weight · number + Σ table[row], a number or a row of every field."""
    nodes, inputs, constants, terms = [], [], [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    for number, field in enumerate(spec.fields):
        once = field.side in ("user", "context")
        shape = ["B"] if once else ["B", "C"]
        shape += [field.width] if field.width > 1 else []
        kind = TensorProto.INT64 if field.is_index else TensorProto.FLOAT
        inputs.append(helper.make_tensor_value_info(field.name, kind, shape))
        if field.is_index:
            table = constant(f"table{number}", rng.normal(size=field.rows).astype(np.float32))
            nodes.append(helper.make_node("Gather", [table, field.name], [f"value{number}"]))
        else:
            weight = constant(f"weight{number}", rng.normal(size=1).astype(np.float32))
            nodes.append(helper.make_node("Mul", [weight, field.name], [f"value{number}"]))
        term = f"value{number}"
        if field.width > 1:
            last = constant(f"axis{number}", np.array([-1]))
            nodes.append(helper.make_node("ReduceSum", [term, last], [f"sum{number}"], keepdims=0))
            term = f"sum{number}"
        if once:
            nodes.append(helper.make_node("Unsqueeze", [term, constant(f"one{number}", np.array([1]))], [f"u{number}"]))
            term = f"u{number}"
        terms.append(term)
    nodes.append(helper.make_node("Sum", terms, ["total"]))
    nodes.append(helper.make_node("Unsqueeze", ["total", constant("two", np.array([2]))], ["logits"]))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "C", 1])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def tiny_parts(folder: Path) -> FunnelParts:
    """The parts of the tiny bundle."""
    rng = np.random.default_rng(5)
    dataset = tiny_dataset(rng)
    users, items = user_catalogue(dataset), item_catalogue(dataset)
    features = FeaturesConfig()
    encoder = FeatureEncoder.fit(features, DATA, dataset, np.ones(EVENTS, dtype=bool))
    user_features = encoder.encode("user", dataset.users)
    item_features = encoder.encode("item", dataset.items)
    events = events_from(dataset, users, items, DATA, np.zeros(EVENTS, dtype=np.int8))
    counts = np.bincount(events.item, minlength=ITEMS).astype(np.float32)
    weights = sparse.random(ITEMS, ITEMS, 0.2, format="csr", dtype=np.float32, rng=rng)
    retrievers = {"popular": StaticRetriever(counts), "cf": NeighboursRetriever(weights, query_decay=0.8)}
    route_inputs = route_fields(retrievers, MatchFeatures(item_features))
    fields = (*encoder.fields("user"), *encoder.fields("item"), *route_inputs)
    spec = InputSpec(fields, features.history.length)
    path = folder / "ranker.onnx"
    onnx.save(tiny_ranker(spec, rng), path)
    fusion = FusionSpec(k=60, weights={"popular": 0.5, "cf": 1.0}, per_route=20, candidates=20)
    return FunnelParts(
        generator=CandidateGenerator(retrievers, fusion, Policy()),
        ranker=Ranker(OnnxScorer(path), spec),
        encoder=encoder,
        users=users,
        items=items,
        titles=pa.array([None if i == 3 else f"Title {i}" for i in range(ITEMS)], pa.large_string()),
        user_features=user_features,
        item_features=item_features,
        histories=Histories.build(events, USERS),
        popularity=counts,
    )
