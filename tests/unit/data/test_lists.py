"""Published lists become canonical tables."""

import pytest

from recsys.data.lists import convert_lists
from recsys.errors import DataError, InputError


def test_windows_are_written_in_their_order_whatever_the_order_of_the_files(tmp_path):
    (tmp_path / "a.txt").write_text("u x y\nv z\n\nw\n")
    (tmp_path / "b.txt").write_text("u q\n")
    paths = convert_lists({"test": tmp_path / "b.txt", "recall": tmp_path / "a.txt"}, tmp_path / "out")
    assert [path.name for path in paths] == ["interactions.csv"]
    assert paths[0].read_text() == "user_id,item_id,window\nu,x,recall\nu,y,recall\nv,z,recall\nu,q,test\n"


def test_whole_histories_and_attributes(tmp_path):
    (tmp_path / "all.txt").write_text("7 1 2 1\n")
    (tmp_path / "known.json").write_text('{"1": [4, 5], "2": []}')
    events, items = convert_lists({"": tmp_path / "all.txt"}, tmp_path, attributes=tmp_path / "known.json")
    assert events.read_text() == "user_id,item_id\n7,1\n7,2\n7,1\n"
    assert items.read_text() == "item_id,attributes\n1,4|5\n2,\n"


@pytest.mark.parametrize(
    ("windows", "found"), [(["train"], "found train"), (["", "test"], "found test"), ([], "found no file")]
)
def test_other_windows_are_refused(tmp_path, windows, found):
    with pytest.raises(InputError, match=f"{found}, expected one file of whole histories, or files of recall, rank"):
        convert_lists(dict.fromkeys(windows, tmp_path), tmp_path)


def test_files_that_are_no_lists_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read"):
        convert_lists({"": tmp_path / "absent.txt"}, tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe 1 2")
    with pytest.raises(DataError, match="binary: cannot be read"):
        convert_lists({"": tmp_path / "binary"}, tmp_path)
    (tmp_path / "good").write_text("1 2\n")
    for text, wrong in (("{", "expected JSON"), ("[1]", "expected an object"), ('{"1": 2}', "expected an object")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match=rf"bad\.json: .*{wrong}"):
            convert_lists({"": tmp_path / "good"}, tmp_path, attributes=tmp_path / "bad.json")
