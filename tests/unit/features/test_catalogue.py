import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.tables import Dataset
from recsys.errors import ArtifactError, DataError
from recsys.features.catalogue import Catalogue, align, item_catalogue, user_catalogue

IDS = st.lists(st.text(max_size=6), unique=True, max_size=100)


@given(IDS, st.lists(st.text(max_size=6), max_size=100))
@settings(max_examples=50, deadline=None)
def test_codes_never_move_when_the_catalogue_grows(ids, more):
    before = Catalogue(ids)
    after = before.extend(more)
    assert after.encode(ids).tolist() == list(range(len(ids)))
    assert after.ids.to_pylist() == list(dict.fromkeys([*ids, *more]))


@given(IDS)
@settings(max_examples=50, deadline=None)
def test_decode_undoes_encode(ids):
    catalogue = Catalogue(ids)
    assert catalogue.decode(catalogue.encode(ids)).to_pylist() == ids


@pytest.mark.parametrize("count", [3, 500])
def test_unknown_ids_have_no_code(count):
    catalogue = Catalogue([f"id {n}" for n in range(count)])
    assert catalogue.encode(["id 2", "nobody"] * (count // 2)).tolist() == [2, -1] * (count // 2)
    assert catalogue.decode(np.array([1, -1], np.int32)).to_pylist() == ["id 1", None]


def test_ids_are_kept_as_they_are():
    odd = ["a b", 'quote "q"', "it's", "東京", "Ünï", "", " a b"]
    assert Catalogue(odd).encode(odd).tolist() == list(range(len(odd)))


def test_repeated_and_null_ids_are_refused():
    with pytest.raises(DataError, match="found the id 'b' more than once"):
        Catalogue(["a", "b", "b"])
    with pytest.raises(DataError, match="found 1 null ids"):
        Catalogue(pa.array(["a", None], pa.large_string()))


def test_items_table_first_then_the_log():
    text = pa.large_string()
    log = pa.table({"user_id": pa.array(["v", "u", "v"], text), "item_id": pa.array(["z", "b", "z"], text)})
    items = pa.table({"item_id": pa.array(["b", "a"], text), "year": [1.0, 2.0]})
    dataset = Dataset(log, None, items)
    assert item_catalogue(dataset).ids.to_pylist() == ["b", "a", "z"]
    assert user_catalogue(dataset).ids.to_pylist() == ["v", "u"]
    aligned = align(item_catalogue(dataset), items, "item_id")
    assert aligned.to_pydict() == {"item_id": ["b", "a", "z"], "year": [1.0, 2.0, None]}
    assert align(user_catalogue(dataset), None, "user_id").to_pydict() == {"user_id": ["v", "u"]}


def test_saves_and_loads(tmp_path):
    Catalogue(["b", "a"]).save(tmp_path / "ids.parquet")
    assert Catalogue.load(tmp_path / "ids.parquet").ids.to_pylist() == ["b", "a"]
    (tmp_path / "ids.parquet").write_bytes(b"no parquet")
    with pytest.raises(ArtifactError, match=r"ids\.parquet: not a catalogue"):
        Catalogue.load(tmp_path / "ids.parquet")
