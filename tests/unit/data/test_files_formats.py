"""Every format people have: which columns a file has, its rows, and the lines of the rejected ones."""

import gzip
import zipfile

import pytest

from recsys.data.config import TableConfig
from recsys.data.files import column_names, declared_types, read_source

ROWS = {"user_id": ["196", "186", "22"], "item_id": ["242", "302", "377"]}


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads columns of it."""

    def run(name, content, columns=("user_id", "item_id"), **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_source(path, TableConfig(path=str(path), **settings), list(columns))

    return run


@pytest.fixture
def names(tmp_path):
    """Writes a file and lists its columns."""

    def run(name, content, **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return column_names(path, TableConfig(path=str(path), **settings))

    return run


# --- no header, other delimiters -------------------------------------------------------------------------------------

HEADER = ["user_id", "item_id", "rating", "timestamp"]
U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("u.data", U_DATA, {"delimiter": "\t"}),
        ("u.data", U_DATA, {"format": "tsv"}),
        ("ratings.dat", U_DATA.replace("\t", "::"), {"delimiter": "::"}),
        ("ratings.dat", U_DATA.replace("\t", "::").replace("\n", "\r\n"), {"delimiter": "::"}),
        ("ratings.txt", U_DATA.replace("\t", "   \t ").replace("\n", " \n  "), {"delimiter": "blanks"}),
        ("ratings.txt", U_DATA.replace("\t", "¦"), {"delimiter": "¦"}),
        ("ratings.csv", U_DATA.replace("\t", ",").removesuffix("\n"), {}),
    ],
    ids=["tab", "tsv", "::", ":: and CRLF", "blanks", "non-ASCII", "comma"],
)
def test_a_file_without_header_and_any_delimiter(read, name, text, settings):
    source = read(name, text, HEADER, header=HEADER, **settings)
    assert source.table.select(["user_id", "item_id"]).to_pydict() == ROWS
    assert source.lines([0, 2]) == {0: 1, 2: 3}
    assert source.bad == ()


def test_typed_headers_name_columns_plainly(read, names, tmp_path):
    text = "user_id:token\titem_id:token\trating:float\tgenres:token_seq\n196\t242\t3\ta b\n"
    assert names("x.inter", text, format="tsv") == ["user_id", "item_id", "rating", "genres"]
    config = TableConfig(path="x.inter", format="tsv")
    assert declared_types(tmp_path / "x.inter", config) == {
        "user_id": "token",
        "item_id": "token",
        "rating": "float",
        "genres": "token_seq",
    }
    assert read("x.inter", text, ["rating", "genres"], format="tsv").table.to_pylist() == [
        {"rating": "3", "genres": "a b"}
    ]


def test_a_header_with_one_untyped_name_is_taken_as_it_is(names, tmp_path):
    assert names("x.csv", "user_id:token,time\nu,1\n") == ["user_id:token", "time"]
    assert declared_types(tmp_path / "x.csv", TableConfig(path="x.csv")) == {}


# --- JSON lines ------------------------------------------------------------------------------------------------------

JSON = (
    '{"user_id": "007", "item_id": 9007199254740993, "style": {"color": "red"}, "tags": ["a", "b"], "vip": true}\n'
    "\n"
    '{"user_id": "8", "item_id": 2, "style": {"size": 1.5}, "tags": null}\r\n'
    "{broken\n"
    "[1]\n"
    '{"user_id": "9", "item_id": 3, "vip": false}'
)


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.json", "x.jsonl.gz", "x.jsonl.zip"])
def test_json_lines(read, names, tmp_path, name):
    content = JSON.encode()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("inner.jsonl", content)
        content = (tmp_path / name).read_bytes()
    assert names(name, content) == ["user_id", "item_id", "style.color", "tags", "vip", "style.size"]
    source = read(name, content, ["user_id", "item_id", "style.color", "style.size", "tags", "vip"])
    assert source.table.to_pydict() == {
        "user_id": ["007", "8", "9"],
        "item_id": [9007199254740993, 2, 3],
        "style.color": ["red", None, None],
        "style.size": [None, 1.5, None],
        "tags": [["a", "b"], None, None],
        "vip": [True, None, False],
    }
    assert source.records.tolist() == [0, 1, 4]
    assert [(row.record, row.value) for row in source.bad] == [(2, "{broken"), (3, "[1]")]
    assert source.lines([0, 1, 2, 3, 4]) == {0: 1, 1: 3, 2: 4, 3: 5, 4: 6}
