"""Files of groups: what is read of them, and what is said of those that are not right."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.training.batches import Samples
from recsys.training.group_files import LABELS, MASK, WEIGHT, GroupColumns, GroupFile, groups_table, write_groups

USER, TAGS = Field("user.id", 9, 1, "user.id"), Field("user.tags", 9, 3, "user.tags")
ITEM, GENRES, PRICE = Field("item.id", 9, 1, "i"), Field("item.genres", 9, 2, "g"), Field("item.price", 0, 1, "")
PAST, PAST_GENRES = Field("history.id", 9, 1, "i"), Field("history.genres", 9, 2, "g")
ROWS = InputSpec((USER, ITEM, PRICE), 1)
GOOD = {"user.id": [2, 3, 4], "item.id": [1, 8, 0], "item.price": [0.5, -1.0, 2.0], "label": [1, 0, 1]}


def fixed(values):
    values = np.asarray(values)
    made = pa.array(values.reshape(-1))
    for size in values.shape[:0:-1]:
        made = pa.FixedSizeListArray.from_arrays(made, size)
    return made


@pytest.fixture
def written(tmp_path):
    """Opens a file of these columns."""

    def write(columns, spec=ROWS, *, rows=None, **named):
        pq.write_table(pa.table(columns), tmp_path / "log.parquet", row_group_size=rows)
        return GroupFile(tmp_path / "log.parquet", GroupColumns(spec, **named))

    return write


@pytest.mark.parametrize("index", [np.int8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("number", [np.float32, np.float64, np.int16, np.bool_])
def test_a_click_log_has_one_candidate_a_row(written, index, number):
    columns = {name: np.array(values, index if name.endswith("id") else number) for name, values in GOOD.items()}
    rows = written(columns).read(0, 1)
    assert {name: values.dtype for name, values in rows.items()} == {
        "user.id": np.int64,
        "item.id": np.int64,
        "item.price": np.float32,
        LABELS: np.float32,
        MASK: np.bool_,
    }
    assert rows["user.id"].tolist() == [2, 3, 4]
    assert rows["item.id"].tolist() == [[1], [8], [0]]
    np.testing.assert_array_equal(rows["item.price"], columns["item.price"].astype(np.float32)[:, None])
    assert rows[MASK].all()


def test_groups_of_rows_are_read_one_by_one(written):
    file = written(GOOD, rows=2)
    assert file.rows.tolist() == [2, 1]
    assert file.read(1, 1)["user.id"].tolist() == [4]


def test_lists_of_values_and_candidates_are_padded(written):
    spec = InputSpec((TAGS, ITEM, GENRES), 1)
    columns = {
        "user.tags": pa.array([[1, 2], [], [3, 4, 5]]),
        "item.id": fixed([[1, 2], [3, 0], [5, 6]]),
        "item.genres": fixed([[[1], [2]], [[3], [4]], [[5], [6]]]),
        "label": fixed([[1.0, 0.0]] * 3),
        "buy": fixed([[0.0, 1.0]] * 3),
        "real": fixed([[True, True], [True, False], [True, True]]),
        "counts": fixed([[0.5, 2.0]] * 3),
    }
    file = written(columns, spec, labels=("label", "buy"), mask="real", weight="counts")
    assert file.candidates == 2
    rows = file.read(0, 3)
    assert rows["user.tags"].tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 5]]
    assert rows["item.id"].tolist() == [[1, 2, 0], [3, 0, 0], [5, 6, 0]]
    assert rows["item.genres"].tolist()[0] == [[1, 0], [2, 0], [0, 0]]
    assert rows[LABELS].tolist()[0] == [[1, 0], [0, 1], [0, 0]]
    assert rows[MASK].tolist() == [[True, True, False], [True, False, False], [True, True, False]]
    assert rows[WEIGHT].tolist()[0] == [0.5, 2.0, 0.0]


def test_several_values_of_one_candidate_need_one_list(written):
    columns = {"item.genres": pa.array([[1, 2], [3]]), "label": [1, 0]}
    assert written(columns, InputSpec((GENRES,), 1)).read(0, 1)["item.genres"].tolist() == [[[1, 2]], [[3, 0]]]


def test_histories_without_padding_say_where_they_end_and_the_newest_are_kept(written):
    spec = InputSpec((PAST, PAST_GENRES, HISTORY_MASK, ITEM), 3)
    columns = {
        "history.id": pa.array([[1, 2], [], [3, 4, 5, 6, 7]]),
        "history.genres": pa.array([[[1], [2, 3]], [], [[1]] * 4 + [[8, 7]]], pa.list_(pa.list_(pa.int8()))),
        "item.id": [1, 2, 3],
        "label": [0, 0, 1],
    }
    rows = written(columns, spec).read(0, 1)
    assert rows["history.id"].tolist() == [[1, 2, 0], [0, 0, 0], [5, 6, 7]]
    assert rows["history.genres"].tolist() == [[[1, 0], [2, 3], [0, 0]], [[0, 0]] * 3, [[1, 0], [1, 0], [8, 7]]]
    assert rows[HISTORY_MASK.name].tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]


def test_padded_histories_come_with_their_mask(written):
    spec = InputSpec((PAST, HISTORY_MASK, ITEM), 3)
    columns = {"history.id": fixed([[1, 2], [3, 0]]), "history.mask": fixed([[1.0, 1.0], [1.0, 0.0]])}
    rows = written({**columns, "item.id": [1, 2], "label": [0, 1]}, spec).read(0, 1)
    assert rows["history.id"].tolist() == [[1, 2, 0], [3, 0, 0]]
    assert rows[HISTORY_MASK.name].tolist() == [[1, 1, 0], [1, 0, 0]]


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    real = np.arange(5) < rng.integers(0, 6, 40)[:, None]
    inputs = {
        "user.tags": rng.integers(0, 9, (40, 3)),
        "history.id": rng.integers(1, 9, (40, 5)) * real,
        "history.genres": rng.integers(1, 9, (40, 5, 2)) * real[..., None],
        "history.mask": real.astype(np.float32),
        "item.genres": rng.integers(0, 9, (40, 4, 2)),
        "item.price": rng.random((40, 4), dtype=np.float32),
    }
    mask, weight = rng.random((40, 4)) < 0.8, rng.random((40, 4), dtype=np.float32)
    samples = Samples(inputs, rng.random((40, 4, 2), dtype=np.float32), mask, 8, weight)
    spec = InputSpec((TAGS, PAST, PAST_GENRES, HISTORY_MASK, GENRES, PRICE), 5)
    columns = GroupColumns(spec, ("click", "buy"), mask="mask", weight="weight")
    write_groups(tmp_path / "log.parquet", [groups_table(samples, columns)] * 2)
    assert "history.mask" not in pq.read_schema(tmp_path / "log.parquet").names
    rows = GroupFile(tmp_path / "log.parquet", columns).read(1, 4)
    expected = {**inputs, LABELS: samples.labels, MASK: mask, WEIGHT: weight}
    assert list(rows) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(rows[name], values, err_msg=name)
    assert columns.row_bytes(4) == sum(values.astype(rows[name].dtype)[0].nbytes for name, values in expected.items())


BAD = {
    "missing": ({**GOOD, "item.price": None}, "found no column item.price, only user.id, item.id, label; expected all"),
    "text": ({**GOOD, "item.id": ["a", "b", "c"]}, "column item.id is string, expected embedding rows below 9 as int"),
    "float": ({**GOOD, "user.id": [1.0, 2.0, 3.0]}, "column user.id is double, expected embedding rows below 9 as int"),
    "date": (
        {**GOOD, "label": pa.array([1, 2, 3], pa.timestamp("s"))},
        r"column label is timestamp\[ms\], expected nu",
    ),
    "list": (
        {**GOOD, "user.id": fixed([[1], [2], [3]])},
        "column user.id is fixed_size_list.*, expected embedding row",
    ),
    "variable": ({**GOOD, "item.id": [[1], [2], [3]]}, "column item.id is list.*, in fixed-size lists of the candidat"),
    "ragged": (
        {**GOOD, "item.id": fixed([[1, 2]] * 3)},
        "column item.price has 1 candidates a group, expected 2 as ite",
    ),
    "above": (
        {**GOOD, "user.id": [2, 9, 3]},
        r"row group 0, column user\.id: found embedding row 9, expected 0 to 8; en",
    ),
    "below": (
        {**GOOD, "user.id": [2, -1, 3]},
        r"row group 0, column user\.id: found embedding row -1, expected 0 to 8",
    ),
    "null": (
        {**GOOD, "user.id": [2, None, None]},
        r"row group 0, column user\.id: found 2 missing values, expected no",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_types_and_statistics_tell_is_refused_at_once(name, written):
    columns, expected = BAD[name]
    with pytest.raises(DataError, match=rf"log\.parquet: {expected}"):
        written({name: values for name, values in columns.items() if values is not None})


NOT_FINITE = {"nan": float("nan"), "infinite": float("inf"), "too large for single precision": 1e300}


@pytest.mark.parametrize("value", NOT_FINITE.values(), ids=NOT_FINITE)
def test_numbers_that_are_none_are_refused_when_read(written, value):
    file = written({**GOOD, "item.price": [0.5, value, 1.0]}, rows=1)
    file.read(0, 1)
    expected = r"log\.parquet: row group 1, column item\.price: found (nan|inf|1e\+300), expected finite numbers; fill"
    with pytest.raises(DataError, match=expected):
        file.read(1, 1)


def test_rows_beyond_the_table_are_refused_when_the_file_has_no_statistics(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({**GOOD, "user.id": [2, 9, 3]}), path, write_statistics=False)
    with pytest.raises(DataError, match=r"row group 0, column user\.id: found embedding row 9, expected 0 to 8"):
        GroupFile(path, GroupColumns(ROWS)).read(0, 1)


def test_nulls_in_lists_and_lists_too_long_are_refused_when_read(written):
    spec = InputSpec((TAGS, ITEM), 1)
    with pytest.raises(DataError, match=r"column user\.tags: found 1 missing values, expected none"):
        written({"user.tags": [[1, None]], "item.id": [1], "label": [1]}, spec).read(0, 1)
    with pytest.raises(DataError, match=r"column user\.tags: found a list of 4, expected at most 3"):
        written({"user.tags": [[1, 2, 3, 4]], "item.id": [1], "label": [1]}, spec).read(0, 1)


def test_histories_of_different_lengths_are_refused(written):
    spec = InputSpec((PAST, PAST_GENRES, HISTORY_MASK, ITEM), 3)
    columns = {"history.id": [[1], [1, 2]], "history.genres": [[[1]], [[1]]], "item.id": [1, 2], "label": [0, 1]}
    expected = r"row group 0, column history\.genres: found a history of 1 in row 1, expected 2 as history\.id has"
    with pytest.raises(DataError, match=expected):
        written(columns, spec).read(0, 1)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"user,item\n1,2\n"])
def test_what_is_no_parquet_file_is_refused(tmp_path, content):
    (tmp_path / "log.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"log\.parquet: cannot be read \(.+\), expected a whole Parquet file$"):
        GroupFile(tmp_path / "log.parquet", GroupColumns(ROWS))


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    write_groups(path, [pa.table(GOOD)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="expected a whole Parquet file"):
        GroupFile(path, GroupColumns(ROWS))


def test_a_byte_that_changed_is_found(tmp_path):
    path = tmp_path / "log.parquet"
    rng = np.random.default_rng(0)
    columns = {"user.id": rng.integers(0, 9, 5000), "item.id": rng.integers(0, 9, 5000), "label": rng.random(5000)}
    write_groups(path, [pa.table({**columns, "item.price": rng.random(5000)})])
    file = GroupFile(path, GroupColumns(ROWS))
    file.read(0, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"log\.parquet: row group 0 cannot be read \(.+\), expected Parquet as it was"):
        file.read(0, 1)


def test_a_file_without_tables_is_none(tmp_path):
    write_groups(tmp_path / "log.parquet", [])
    assert not (tmp_path / "log.parquet").exists()
