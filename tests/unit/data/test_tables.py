import pyarrow as pa
import pytest

from recsys.data.tables import Dataset, event_columns
from recsys.errors import ArtifactError

EVENTS = pa.table({"user_id": pa.array(["a b", "ü"], pa.large_string()), "row": pa.array([0, 1], pa.int64())})


def test_what_is_saved_comes_back(tmp_path):
    Dataset(EVENTS, users=EVENTS.select(["user_id"])).save(tmp_path)
    loaded = Dataset.load(tmp_path)
    assert loaded.interactions.equals(EVENTS)
    assert loaded.interactions.schema == EVENTS.schema
    assert loaded.users.equals(EVENTS.select(["user_id"]))
    assert loaded.items is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interactions.parquet", "users.parquet"]


def test_a_table_of_an_earlier_save_does_not_come_back(tmp_path):
    Dataset(EVENTS, items=EVENTS).save(tmp_path)
    Dataset(EVENTS).save(tmp_path)
    assert Dataset.load(tmp_path).items is None


def test_missing_events_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"interactions\.parquet: found no such file.*run the ingest stage again"):
        Dataset.load(tmp_path)


def test_a_damaged_table_is_named(tmp_path):
    Dataset(EVENTS).save(tmp_path)
    (tmp_path / "interactions.parquet").write_bytes(b"PAR1 no longer")
    with pytest.raises(ArtifactError, match=r"interactions\.parquet: found an unreadable file"):
        Dataset.load(tmp_path)


def test_columns_are_read_without_the_others(tmp_path):
    Dataset(EVENTS).save(tmp_path)
    found = event_columns(tmp_path, "user_id", "nowhere")
    assert {name: column.to_pylist() for name, column in found.items()} == {"user_id": EVENTS["user_id"].to_pylist()}
    assert event_columns(tmp_path, "nowhere") == {}


def test_columns_of_missing_events_name_the_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"interactions\.parquet: found an unreadable file .*run the ingest stage"):
        event_columns(tmp_path, "user_id")
