import datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from recsys.errors import DataError
from recsys.features.config import Transform
from recsys.features.transforms import TRANSFORMS, fit_transform, restore_transform

TEXT = pa.large_string()


def fitted(column, **config):
    return fit_transform(TypeAdapter(Transform).validate_python(config), column)


def texts(*values):
    return pa.array(values, TEXT)


COLUMNS = {
    "categorical": texts("a", "b", None),
    "multi_categorical": pa.array([["a", "b"], [], None], pa.list_(TEXT)),
    "hashed": texts("a", "b", None),
    "standard": pa.array([1.0, 2.0, None]),
    "min_max": pa.array([1.0, 2.0, None]),
    "log": pa.array([1.0, 2.0, None]),
    "quantile": pa.array([1.0, 2.0, None]),
    "time": pa.array([0, 3_600_000_000, None], pa.timestamp("us", tz="UTC")),
}


def test_every_transform_is_covered():
    assert set(COLUMNS) == set(TRANSFORMS)


@pytest.mark.parametrize("kind", COLUMNS)
class TestContract:
    def test_shape_and_type(self, kind):
        transform = fitted(COLUMNS[kind], kind=kind)
        values = transform.encode(COLUMNS[kind])
        assert values.shape == ((3,) if transform.width == 1 else (3, transform.width))
        assert values.dtype == (np.int64 if transform.rows else np.float32)
        if transform.rows:
            assert values.min() >= 0
            assert values.max() < transform.rows

    def test_missing_is_a_value_like_any_other(self, kind):
        transform = fitted(COLUMNS[kind], kind=kind)
        missing = transform.encode(pa.nulls(2))
        assert len(missing) == 2
        assert np.isfinite(missing).all()
        np.testing.assert_allclose(missing[0], transform.encode(COLUMNS[kind])[2], rtol=1e-6)

    def test_comes_back_from_its_state(self, kind):
        transform = fitted(COLUMNS[kind], kind=kind)
        again = restore_transform(transform.kind, transform.state(), transform.vocabulary)
        np.testing.assert_allclose(again.encode(COLUMNS[kind]), transform.encode(COLUMNS[kind]), rtol=1e-6)
        assert (again.rows, again.width) == (transform.rows, transform.width)

    def test_fitting_on_nothing_still_encodes(self, kind):
        transform = fitted(COLUMNS[kind].slice(0, 0), kind=kind)
        assert np.isfinite(transform.encode(COLUMNS[kind])).all()

    def test_a_slice_encodes_like_the_whole(self, kind):
        transform = fitted(COLUMNS[kind], kind=kind)
        whole = transform.encode(COLUMNS[kind])
        np.testing.assert_allclose(transform.encode(COLUMNS[kind].slice(1)), whole[1:], rtol=1e-6)

    def test_a_wrong_type_names_the_value(self, kind):
        wrong = pa.array([["x"]]) if kind in ("categorical", "hashed") else texts("x y")
        with pytest.raises(DataError, match=r"found .*x.*, expected (text|a list of text|a number|a timestamp)"):
            fitted(COLUMNS[kind], kind=kind).encode(wrong)


def test_categories_by_frequency_then_code_point():
    transform = fitted(texts("b", "ä", "b", "a", None), kind="categorical")
    assert transform.vocabulary.to_pylist() == ["b", "a", "ä"]
    assert transform.encode(texts("b", "a", "ä", "never seen", None, "")).tolist() == [2, 3, 4, 1, 1, 1]


def test_rare_categories_have_no_row():
    transform = fitted(texts("b", "b", "a"), kind="categorical", min_count=2)
    assert transform.encode(texts("a", "b")).tolist() == [1, 2]
    assert transform.rows == 3


@pytest.mark.parametrize("raw", [[5], [True], [b"5"]])
def test_raw_values_are_not_read_here(raw):
    """There is one place where raw values become canonical: `recsys.data.columns`."""
    with pytest.raises(DataError, match=r"found .*, expected text"):
        fitted(texts("5"), kind="categorical").encode(pa.array(raw))


def test_numbers_of_a_numeric_column_are_categories_by_their_text():
    transform = fitted(pa.array([5.0, 5.0, 5.5, None]), kind="categorical")
    assert transform.vocabulary.to_pylist() == ["5", "5.5"]
    assert transform.encode(pa.array([5.5, 5.0, 6.0, None])).tolist() == [3, 2, 1, 1]


def test_multi_valued_rows_are_cut_and_padded():
    column = pa.array([["a", "b", "c"], ["z", None, "a"], []], pa.list_(TEXT))
    transform = fitted(column, kind="multi_categorical", max_length=2)
    assert transform.vocabulary.to_pylist() == ["a", "b", "c", "z"]
    assert transform.encode(column).tolist() == [[2, 3], [5, 0], [0, 0]]
    assert transform.encode(pa.array([["?"]], pa.list_(TEXT))).tolist() == [[1, 0]]


def test_multi_valued_fields_keep_their_axis():
    assert fitted(pa.array([["a"]], pa.list_(TEXT)), kind="multi_categorical").width == 2


def test_hashes_are_the_same_everywhere():
    import hashlib

    expected = 2 + int.from_bytes(hashlib.blake2b(b"a", digest_size=8).digest(), "little") % 1000
    transform = fitted(texts("a"), kind="hashed", buckets=1000)
    assert transform.encode(texts("a", None, "a")).tolist() == [expected, 1, expected]


def test_standard_agrees_with_scikit_learn():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    expected = StandardScaler().fit_transform(values[:, None])[:, 0]
    np.testing.assert_allclose(fitted(pa.array(values), kind="standard").encode(pa.array(values)), expected, rtol=1e-6)


def test_min_max_agrees_with_scikit_learn_and_clips():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    transform = fitted(pa.array(values), kind="min_max")
    expected = MinMaxScaler().fit_transform(values[:, None])[:, 0]
    np.testing.assert_allclose(transform.encode(pa.array(values)), expected, rtol=1e-6)
    assert transform.encode(pa.array([-5.0, 50.0])).tolist() == [0, 1]


def test_log_is_standardised_and_keeps_the_sign():
    values = np.array([-100.0, 0.0, 100.0])
    encoded = fitted(pa.array(values), kind="log").encode(pa.array(values))
    deviation = np.std([-np.log1p(100), 0, np.log1p(100)])
    np.testing.assert_allclose(encoded, [-np.log1p(100) / deviation, 0, np.log1p(100) / deviation], rtol=1e-6)


@pytest.mark.parametrize("kind", ["standard", "log", "min_max"])
def test_nan_and_infinity_become_the_fitted_mean(kind):
    transform = fitted(pa.array([1.0, 3.0, np.nan, np.inf, None]), kind=kind)
    odd = transform.encode(pa.array([np.nan, np.inf, -np.inf, None]))
    assert len(set(odd.tolist())) == 1
    assert np.isfinite(odd).all()


def test_a_constant_column_is_no_division_by_zero():
    assert fitted(pa.array([3.0, 3.0]), kind="standard").encode(pa.array([3.0, 4.0])).tolist() == [0, 1]
    assert fitted(pa.array([3.0, 3.0]), kind="min_max").encode(pa.array([3.0])).tolist() == [0]


def test_quantile_buckets_hold_equal_shares():
    values = np.arange(100.0)
    encoded = fitted(pa.array(values), kind="quantile", buckets=4).encode(pa.array(values))
    assert np.bincount(encoded).tolist() == [0, 0, 25, 25, 25, 25]


def test_quantile_of_few_values_merges_buckets():
    transform = fitted(pa.array([1.0, 1.0, 1.0, 2.0]), kind="quantile", buckets=10)
    assert transform.rows == 2 + len(transform.edges) + 1
    assert transform.encode(pa.array([np.nan, -np.inf, np.inf])).tolist() == [1, 2, transform.rows - 1]


@pytest.mark.parametrize(
    ("part", "row"), [("hour", 2 + 23), ("weekday", 2 + 4), ("day", 2 + 30), ("month", 2 + 11), ("year", 2 + 29)]
)
def test_parts_of_a_time(part, row):
    moment = datetime.datetime(1999, 12, 31, 23, 59, tzinfo=datetime.UTC)  # a Friday
    column = pa.array([moment], pa.timestamp("us", tz="UTC"))
    transform = fitted(column, kind="time", part=part)
    assert transform.encode(column).tolist() == [row]
    assert row < transform.rows


def test_years_out_of_range_are_out_of_vocabulary():
    moments = pa.array([datetime.datetime(y, 1, 1, tzinfo=datetime.UTC) for y in (1969, 2100)])
    assert fitted(moments, kind="time", part="year").encode(moments).tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["standard", "min_max", "log", "quantile"])
def test_the_largest_numbers_there_are_stay_numbers(kind):
    column = pa.array([-1.7e308, 1.7e308, 1.6e308, 0.0, None])
    transform = fitted(column, kind=kind)
    values = transform.encode(column)
    assert np.isfinite(values).all()
    # In their order, the missing one apart.
    assert values[0] < values[3] <= values[2] <= values[1]
    assert np.isfinite(fitted(pa.array([1.0, 2.0]), kind=kind).encode(column)).all()


def test_large_numbers_are_standardised_as_small_ones_are():
    small = np.array([1.0, 2.0, 4.0])
    expected = (small - small.mean()) / small.std()
    for unit in (1.0, 1e99, 1e200, 4e307):
        column = pa.array(small * unit)
        np.testing.assert_allclose(fitted(column, kind="standard").encode(column), expected, rtol=1e-6)


def test_few_values_are_looked_up_like_many():
    """Few beside the vocabulary go through a dictionary, many through Arrow."""
    rng = np.random.default_rng(0)
    seen = [f"v{number}" for number in rng.integers(0, 2000, 5000)]
    asked = texts(*seen[:3000], "never", None, "")
    for transform, column in (
        (fitted(texts(*seen), kind="categorical", min_count=2), asked),
        (
            fitted(pa.array([seen], pa.list_(TEXT)), kind="multi_categorical"),
            pa.array([[v] for v in asked.to_pylist()]),
        ),
    ):
        many = transform.encode(column)
        few = np.concatenate([transform.encode(column.slice(start, 7)) for start in range(0, len(column), 7)])
        np.testing.assert_array_equal(few, many)
        assert many.max() > 100
