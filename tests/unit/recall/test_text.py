"""What is read of the items table, and how it is cut into terms."""

import dataclasses

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import DataError
from recsys.recall.base import ItemColumn
from recsys.recall.text import is_value, item_documents, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Empire-strikes_back (1980)!", ["the", "empire", "strikes", "back", "1980"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("ＦＵＬＬ width", ["full", "width"]),
        ("Cafe\u0301 café", ["café", "café"]),
        ("हिन्दी फ़िल्म", ["हिन्दी", "फ़िल्म"]),
        ("東京物語 1953 ひと", ["東", "京", "物", "語", "1953", "ひ", "と"]),
        ("товар № 5", ["товар", "no", "5"]),
        (" \n…!? ", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_of_any_script(text, expected):
    # NFKC takes apart what Unicode excludes from composition, as फ़ here.
    assert words(text) == [word.replace("फ़", "फ\u093c") for word in expected]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_words_are_words_again_and_no_values(text):
    found = words(text)
    assert words(" ".join(found)) == found
    assert not any(map(is_value, found))


def spoken(documents):
    bounds = zip(documents.offsets, documents.offsets[1:], strict=False)
    return [[documents.terms[t] for t in documents.tokens[a:b]] for a, b in bounds]


def test_terms_are_the_words_and_values_of_an_item_in_order(catalogue):
    data = catalogue(title=["Red car, red", None, "car"], brand=["Red", None, ""], tags=[["a b", "c"], [], None])
    assert spoken(item_documents(data, None, kind="bm25")) == [
        ["red", "car", "red", "brand=Red", "tags=a b", "tags=c"],
        [],
        ["car"],
    ]
    assert spoken(item_documents(data, ("tags", "title"), kind="bm25"))[0] == [
        "tags=a b",
        "tags=c",
        "red",
        "car",
        "red",
    ]


def test_counts_are_how_often_an_item_has_a_term(catalogue):
    documents = item_documents(catalogue(title=["b a b", None, "a c"]), None, kind="bm25")
    assert documents.terms == ["b", "a", "c"]
    assert documents.counts().toarray().tolist() == [[2, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert documents.tokens.tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("cells", [[None, None], ["", "  "], ["…", "!?"]], ids=["missing", "blank", "no words"])
def test_a_named_column_without_words_is_refused_by_name(catalogue, cells):
    data = catalogue(title=["a", "b"], story=cells)
    with pytest.raises(DataError) as caught:
        item_documents(data, ("title", "story"), kind="tfidf")
    assert str(caught.value) == (
        "tfidf: column 'story' has no word or value of any of 2 items; "
        "leave it out of the route's columns, or look into the file"
    )
    assert spoken(item_documents(data, None, kind="tfidf")) == [["a"], ["b"]]


@pytest.mark.parametrize("columns", [{"title": [None, ""], "tags": [[], None]}, {"title": []}])
def test_a_catalogue_that_says_nothing_is_refused(catalogue, columns):
    data = catalogue(**columns)
    with pytest.raises(DataError) as caught:
        item_documents(data, None, kind="bm25")
    assert str(caught.value) == (
        f"bm25: none of {data.n_items} items has a word or value in a text or category column; "
        "look into the file of data.items, or leave the route out"
    )


def test_a_column_that_cannot_be_read_is_refused_by_name(catalogue):
    data = catalogue(title=["a"])
    price = ItemColumn("price", "numeric", pa.array([1.0]))
    data = dataclasses.replace(data, item_columns=(*data.item_columns, price))
    for name in ("price", "titel"):
        with pytest.raises(DataError) as caught:
            item_documents(data, (name,), kind="bm25")
        assert str(caught.value) == f"bm25: the items have no text or category column '{name}'; found title"
    assert spoken(item_documents(data, None, kind="bm25")) == [["a"]]
