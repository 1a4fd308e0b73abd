import numpy as np
import pyarrow as pa
import pytest

from recsys.data.config import DataConfig
from recsys.data.tables import Dataset
from recsys.errors import ArtifactError, DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.config import FeaturesConfig
from recsys.features.encoder import FeatureEncoder

TEXT = pa.large_string()
DATA = DataConfig.model_validate(
    {
        "interactions": {"path": "x.csv", "context": {"device": "categorical", "at": "timestamp"}},
        "users": {"path": "u.csv", "columns": {"age": "numeric", "city/town": "categorical", "bio": "text"}},
        "items": {"path": "i.csv", "columns": {"genres": "multi_categorical"}},
    }
)
CONFIG = FeaturesConfig.model_validate(
    {
        "item": {"item_id": {"kind": "categorical"}, "genres": {"kind": "multi_categorical"}},
        "history": {"fields": ["item_id", "genres"]},
    }
)


def dataset(late_city="Köln"):
    return Dataset(
        pa.table(
            {
                "user_id": pa.array(["u1", "u2", "u1", "u3"], TEXT),
                "item_id": pa.array(["a", "b", "a", "c"], TEXT),
                "device": pa.array(["tv", "phone", "tv", "late"], TEXT),
                "at": pa.array([0, 0, 0, 0], pa.timestamp("us", tz="UTC")),
            }
        ),
        pa.table(
            {
                "user_id": pa.array(["u1", "u2", "u3"], TEXT),
                "age": pa.array([20.0, 40.0, 90.0]),
                "city/town": pa.array(["東京", "Köln", late_city], TEXT),
                "bio": pa.array(["x", "y", "z"], TEXT),
            }
        ),
        pa.table(
            {
                "item_id": pa.array(["a", "b", "c"], TEXT),
                "genres": pa.array([["drama"], ["drama", "war"], ["late"]], pa.list_(TEXT)),
            }
        ),
    )


@pytest.fixture
def encoder():
    return FeatureEncoder.fit(CONFIG, DATA, dataset(), np.array([True, True, True, False]))


def test_fields_describe_what_is_encoded(encoder):
    assert encoder.fields("user") == (Field("user.age", 0, 1, ""), Field("user.city/town", 4, 1, "user.city/town"))
    assert encoder.fields("item") == (
        Field("item.item_id", 4, 1, "item.item_id"),
        Field("item.genres", 4, 2, "item.genres"),
    )
    assert [field.name for field in encoder.fields("context")] == ["context.device", "context.at"]
    for side, table in (("user", dataset().users), ("item", dataset().items), ("context", dataset().interactions)):
        encoded = encoder.encode(side, table)
        assert list(encoded) == [field.name for field in encoder.fields(side)]
        for field in encoder.fields(side):
            values = encoded[field.name]
            assert values.shape[1:] == ((field.width,) if field.width > 1 else ())
            assert (values.dtype == np.int64) == field.is_index


def test_history_fields_share_the_tables_of_the_items(encoder):
    assert encoder.history_fields() == (
        Field("history.item_id", 4, 1, "item.item_id"),
        Field("history.genres", 4, 2, "item.genres"),
        HISTORY_MASK,
    )


def test_a_field_tells_what_is_said_from_what_is_missing():
    kinds = ("standard", "min_max", "log", "quantile", "hashed")
    users = {kind: {"kind": kind, "column": "age"} for kind in kinds}
    config = FeaturesConfig.model_validate({"user": {**users, "city/town": {"kind": "categorical"}}})
    encoder = FeatureEncoder.fit(config, DATA, dataset(), np.array([True, True, True, False]))
    fields = (*encoder.fields("user"), *encoder.fields("item"))
    new = {
        "age": [25.0, None],
        "city/town": ["Köln", "unseen"],
        "item_id": ["a", "new"],
        "genres": [["late", "war"], []],
    }
    encoded = encoder.encode("user", pa.table(new)) | encoder.encode("item", pa.table(new))
    for field in fields:
        assert field.is_known(encoded[field.name]).tolist() == [True, False], field.name


def test_text_is_no_input_by_itself(encoder):
    assert "user.bio" not in [field.name for field in encoder.fields("user")]


def test_unless_told_otherwise_items_are_known_by_their_ids_too():
    fitted = FeatureEncoder.fit(FeaturesConfig(), DATA, dataset(), np.full(4, True))
    assert [field.name for field in fitted.fields("item")] == ["item.item_id", "item.genres"]
    assert [field.name for field in fitted.fields("user")] == ["user.age", "user.city/town"]
    assert [field.name for field in fitted.history_fields()] == ["history.item_id", HISTORY_MASK.name]


def test_only_the_training_window_is_learned_from(encoder):
    encoded = encoder.encode("user", dataset().users)
    # Mean and deviation of 20 and 40; the third user occurs later only.
    np.testing.assert_allclose(encoded["user.age"], [-1, 1, 6])
    assert encoder.encode("item", dataset().items)["item.genres"].tolist() == [[2, 0], [2, 3], [1, 0]]
    assert encoder.encode("context", dataset().interactions)["context.device"].tolist() == [2, 3, 2, 1]


def test_nothing_later_changes_the_encoder(encoder):
    fit_rows = np.array([True, True, True, False])
    other = FeatureEncoder.fit(CONFIG, DATA, dataset(late_city="elsewhere"), fit_rows)
    assert other.hash == encoder.hash
    assert FeatureEncoder.fit(CONFIG, DATA, dataset(), np.ones(4, bool)).hash != encoder.hash


def test_missing_columns_are_missing_values(encoder):
    encoded = encoder.encode("user", pa.table({"": pa.nulls(2)}))
    assert encoded["user.age"].tolist() == [0, 0]
    assert encoded["user.city/town"].tolist() == [1, 1]


def test_one_row_encodes_as_among_many(encoder):
    whole = encoder.encode("user", dataset().users)
    for row in range(3):
        for name, values in encoder.encode("user", dataset().users.slice(row, 1)).items():
            np.testing.assert_allclose(values[0], whole[name][row], rtol=1e-6)


def test_chunks_make_no_difference(encoder):
    chunked = pa.concat_tables([dataset().users.slice(0, 1), dataset().users.slice(1)])
    for name, values in encoder.encode("user", chunked).items():
        np.testing.assert_allclose(values, encoder.encode("user", dataset().users)[name], rtol=1e-6)


def test_a_wrong_type_names_column_and_value(encoder):
    with pytest.raises(DataError, match=r"user\.age: found 'old' \(large_string\), expected a number"):
        encoder.encode("user", pa.table({"age": pa.array(["old"], TEXT)}))


def test_a_column_that_is_not_there_cannot_be_fitted():
    config = FeaturesConfig.model_validate({"user": {"height": {"kind": "standard"}}})
    with pytest.raises(
        DataError, match=r"features\.user\.height: no column height; found user_id, age, city/town, bio"
    ):
        FeatureEncoder.fit(config, DATA, dataset(), np.ones(4, bool))


def test_a_wrong_type_at_fitting_names_the_column():
    config = FeaturesConfig.model_validate({"user": {"bio": {"kind": "standard"}}})
    with pytest.raises(DataError, match=r"user\.bio: found 'x'"):
        FeatureEncoder.fit(config, DATA, dataset(), np.ones(4, bool))


def test_saves_and_loads(encoder, tmp_path):
    encoder.save(tmp_path)
    again = FeatureEncoder.load(tmp_path)
    assert again.hash == encoder.hash
    assert again.history_fields() == encoder.history_fields()
    for name, values in again.encode("user", dataset().users).items():
        np.testing.assert_allclose(values, encoder.encode("user", dataset().users)[name], rtol=1e-6)


def test_no_pickle_and_no_raw_names_on_disk(encoder, tmp_path):
    encoder.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".parquet"}


@pytest.mark.parametrize("damage", ["truncate spec", "drop vocabulary", "other format", "corrupt vocabulary"])
def test_damage_is_noticed(encoder, tmp_path, damage):
    encoder.save(tmp_path)
    spec = tmp_path / "spec.json"
    match damage:
        case "truncate spec":
            spec.write_text(spec.read_text()[:40])
        case "drop vocabulary":
            (tmp_path / "item-0.parquet").unlink()
        case "other format":
            spec.write_text(spec.read_text().replace('"format": 2', '"format": 9'))
        case "corrupt vocabulary":
            (tmp_path / "item-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=str(tmp_path)):
        FeatureEncoder.load(tmp_path)


def test_a_log_alone_has_only_what_it_names():
    data = DataConfig.model_validate({"interactions": {"path": "x.csv"}})
    only_log = Dataset(dataset().interactions.select(["user_id", "item_id"]))
    config = FeaturesConfig.model_validate({"item": {"item_id": {"kind": "categorical"}}, "history": {"fields": []}})
    encoder = FeatureEncoder.fit(config, data, only_log, np.ones(4, bool))
    assert encoder.fields("user") == encoder.fields("context") == encoder.history_fields() == ()
    assert encoder.encode("item", only_log.interactions)["item.item_id"].tolist() == [2, 3, 2, 4]


def test_one_column_may_become_several_fields(tmp_path):
    config = FeaturesConfig.model_validate(
        {"user": {"age": {"kind": "standard"}, "decade": {"kind": "quantile", "buckets": 2, "column": "age"}}}
    )
    encoder = FeatureEncoder.fit(config, DATA, dataset(), np.array([True, True, True, False]))
    assert encoder.reading("user", "age") == ("user.age", "user.decade")
    assert encoder.columns("user") == ("age",)
    encoder.save(tmp_path)
    encoded = FeatureEncoder.load(tmp_path).encode("user", dataset().users)
    np.testing.assert_allclose(encoded["user.age"], [-1, 1, 6])
    assert encoded["user.decade"].tolist() == [2, 3, 3]
