import dataclasses
import hashlib
import http.server
import os
import threading
import zipfile
from pathlib import Path

import pytest

from recsys.data import public
from recsys.data.config import DataConfig
from recsys.data.public import DATASETS, cache_folder, download, ensure
from recsys.errors import DataError, DownloadError

FLAGS = {
    "unknown": "1|" + "0|" * 17 + "0",
    "animation": "0|0|0|1|1|1|" + "0|" * 12 + "0",
    "drama": "0|" * 8 + "1|" + "0|" * 9 + "0",
}
ORIGINAL = {
    "ml-100k/u.data": b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    "ml-100k/u.user": b"1|24|M|technician|85711\n2|53|F|other|T8H1N\n",
    "ml-100k/u.item": "\n".join(
        [
            f"1|Toy Story (1995)|01-Jan-1995||http://x|{FLAGS['animation']}",
            f"267|unknown||||{FLAGS['unknown']}",
            f"543|Mis\u00e9rables, Les (1995)|01-Jan-1995||http://x|{FLAGS['drama']}",
            f'6|Shanghai "Triad" (Yao a yao) (1995) |01-Jan-1995||http://x|{FLAGS["drama"]}',
            f"1412|Land: The Giving (1995) (V)|01-Jan-1995||http://x|{FLAGS['drama']}",
            "",
        ]
    ).encode("latin-1"),
}
INNER = "recbole/dataset_example/ml-100k/ml-100k"
ATOMIC = {
    f"{INNER}.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    f"{INNER}.user": b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    b"1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\tT8H1N\n",
    f"{INNER}.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's Comedy\n"
        "267\tunkonwn\tunkonwn\tunknown\n"
        "543\tMis\u00e9rables, Les\t1995\tDrama\n"
        '6\tShanghai "Triad" (Yao a yao)\t1995\tDrama\n'
        "1412\tLand: The Giving (1995)\tV\tDrama\n"
    ).encode(),
}
EXPECTED = {
    "interactions.csv": "user_id,item_id,rating,timestamp\n196,242,3,881250949\n186,302,3,891717742\n",
    "users.csv": "user_id,age,gender,occupation,zip_code\n1,24,M,technician,85711\n2,53,F,other,T8H1N\n",
    "items.csv": "item_id,title,release_year,genres\n"
    "1,Toy Story,1995,Animation|Children's|Comedy\n"
    "267,unknown,,unknown\n"
    '543,"Mis\u00e9rables, Les",1995,Drama\n'
    '6,"Shanghai ""Triad"" (Yao a yao)",1995,Drama\n'
    "1412,Land: The Giving,1995,Drama\n",
}
SUMS = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in EXPECTED.items()}


def packed(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


class Shelf:
    """A tiny edition of the data set; each source gives what it holds, or nothing."""

    def __init__(self, folder, monkeypatch):
        self.cache, self.out, self.calls = folder / "cache", folder / "out", []
        self.holds = {
            "original": packed(folder / "original.zip", ORIGINAL),
            "atomic": packed(folder / "atomic.zip", ATOMIC),
        }
        first, second = DATASETS["movielens-100k"].archives
        md5 = hashlib.md5(self.holds["original"]).hexdigest()
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in ATOMIC.items()}
        archives = (
            dataclasses.replace(first, label="first", obtain=self.source("original"), md5=md5),
            dataclasses.replace(second, label="second", obtain=self.source("atomic"), members=sums),
        )
        tiny = dataclasses.replace(DATASETS["movielens-100k"], files=SUMS, archives=archives)
        monkeypatch.setitem(DATASETS, "movielens-100k", tiny)

    def source(self, name):
        def obtain(path, progress):
            self.calls.append(name)
            if self.holds[name] is None:
                raise OSError(f"{name} is not reachable")
            path.write_bytes(self.holds[name])

        return obtain

    def download(self):
        return download("movielens-100k", self.out, cache=self.cache)

    def files(self):
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(self.out.iterdir())}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return Shelf(tmp_path, monkeypatch)


@pytest.mark.parametrize("missing", [None, "original", "atomic"])
def test_every_source_gives_the_same_bytes(shelf, missing):
    if missing:
        shelf.holds[missing] = None
    assert [path.name for path in shelf.download()] == list(EXPECTED)
    assert shelf.files() == EXPECTED
    assert shelf.calls == (["original", "atomic"] if missing == "original" else ["original"])


def test_files_that_are_right_are_left_alone(shelf):
    paths = shelf.download()
    before = [path.stat().st_mtime_ns for path in paths]
    shelf.holds.update(original=None, atomic=None)
    assert shelf.download() == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert shelf.calls == ["original"]


@pytest.mark.parametrize("damage", ["delete", "change"])
def test_a_missing_or_changed_file_is_written_again_from_the_cache(shelf, damage):
    path = shelf.download()[2]
    path.unlink() if damage == "delete" else path.write_text("changed")
    shelf.download()
    assert shelf.files() == EXPECTED
    assert shelf.calls == ["original"]


def test_a_damaged_archive_in_the_cache_is_fetched_again(shelf):
    shelf.cache.mkdir()
    (shelf.cache / "ml-100k.zip").write_bytes(shelf.holds["original"][:-30])
    shelf.download()
    assert shelf.files() == EXPECTED
    assert shelf.calls == ["original"]


def test_offline_with_a_damaged_archive_in_the_cache_says_both(shelf):
    shelf.cache.mkdir()
    (shelf.cache / "ml-100k.zip").write_bytes(b"half")
    shelf.holds.update(original=None, atomic=None)
    with pytest.raises(
        DownloadError, match=r"original is not reachable \(and the copy in the cache is damaged: ml-100k"
    ):
        shelf.download()


def test_an_archive_placed_by_hand_is_used(shelf):
    shelf.cache.mkdir()
    (shelf.cache / "recbole-1.2.1-py3-none-any.whl").write_bytes(shelf.holds["atomic"])
    shelf.holds.update(original=None, atomic=None)
    shelf.download()
    assert shelf.files() == EXPECTED


def test_offline_says_what_was_tried_and_where_to_place_the_file(shelf):
    shelf.holds.update(original=None, atomic=None)
    with pytest.raises(DownloadError) as raised:
        shelf.download()
    message = str(raised.value)
    assert "first: original is not reachable" in message
    assert "second: atomic is not reachable" in message
    assert f"place it as {shelf.cache / 'ml-100k.zip'} or {shelf.cache / 'recbole-1.2.1-py3-none-any.whl'}" in message
    assert not shelf.out.exists()
    assert list(shelf.cache.iterdir()) == []


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (ATOMIC | {f"{INNER}.user": b"other"}, r"ml-100k\.user: found SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ({f"../{INNER}.inter": b""}, r"found no recbole/dataset_example/ml-100k/ml-100k\.inter inside, expected it"),
        (b"<html>sign in</html>", r"recbole-1\.2\.1-py3-none-any\.whl: found no zip file .*, expected one"),
    ],
    ids=["member", "missing member", "no zip"],
)
def test_what_is_not_as_expected_is_refused(shelf, tmp_path, held, message):
    shelf.holds["original"] = b"of another checksum"
    shelf.holds["atomic"] = held if isinstance(held, bytes) else packed(tmp_path / "bad.zip", held)
    with pytest.raises(DownloadError, match=message) as raised:
        shelf.download()
    assert "ml-100k.zip: found MD5" in str(raised.value)
    assert not shelf.out.exists()
    assert list(shelf.cache.iterdir()) == []


def test_a_source_whose_tables_differ_is_passed_over(shelf, tmp_path, monkeypatch):
    changed = packed(tmp_path / "changed.zip", ORIGINAL | {"ml-100k/u.user": b"1|25|M|technician|85711\n"})
    shelf.holds["original"] = changed
    dataset = DATASETS["movielens-100k"]
    first = dataclasses.replace(dataset.archives[0], md5=hashlib.md5(changed).hexdigest())
    monkeypatch.setitem(DATASETS, "movielens-100k", dataclasses.replace(dataset, archives=(first, dataset.archives[1])))
    shelf.download()
    assert shelf.files() == EXPECTED
    assert shelf.calls == ["original", "atomic"]


def test_a_member_that_unpacks_to_too_much_is_refused(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(public, "_LARGEST", 1000)
    shelf.holds["original"] = None
    shelf.holds["atomic"] = packed(tmp_path / "bomb.zip", ATOMIC | {f"{INNER}.inter": b"0" * 1_000_000})
    with pytest.raises(DownloadError, match=r"ml-100k\.inter: found more than 1,000 bytes, expected fewer"):
        shelf.download()


def test_contents_of_another_form_are_refused(shelf, tmp_path, monkeypatch):
    odd = packed(tmp_path / "odd.zip", ORIGINAL | {"ml-100k/u.item": b"1|Toy Story\n"})
    shelf.holds.update(original=odd, atomic=None)
    dataset = DATASETS["movielens-100k"]
    first = dataclasses.replace(dataset.archives[0], md5=hashlib.md5(odd).hexdigest())
    monkeypatch.setitem(DATASETS, "movielens-100k", dataclasses.replace(dataset, archives=(first,)))
    with pytest.raises(DownloadError, match=r"ml-100k\.zip: found contents of another form"):
        shelf.download()


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(DataError, match=r"data set movielens-10k: found no such name, .*did you mean movielens-100k\?"):
        download("movielens-10k", Path("nowhere"))


def test_a_folder_that_cannot_be_written_is_named(shelf):
    shelf.out.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"out: cannot be written .*; choose another folder"):
        shelf.download()


def test_ensure_downloads_beside_the_interactions_only_what_is_missing(shelf):
    config = DataConfig.model_validate(
        {
            "dataset": "movielens-100k",
            "interactions": {"path": str(shelf.out / "interactions.csv")},
            "users": {"path": str(shelf.out / "users.csv")},
        }
    )
    assert len(ensure(config, cache=shelf.cache)) == 3
    assert ensure(config, cache=shelf.cache) == []
    assert ensure(config.model_copy(update={"dataset": None}), cache=shelf.cache) == []
    (shelf.out / "users.csv").unlink()
    assert len(ensure(config, cache=shelf.cache)) == 3
    assert shelf.files() == EXPECTED


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RECSYS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "recsys"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """An address that serves a folder, on this machine alone."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = lambda *args: Quiet(*args, directory=str(folder))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}", folder
        served.shutdown()
        thread.join()


def test_a_url_is_fetched_with_progress(server, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address, folder = server
    content = os.urandom(200_000)
    (folder / "a.zip").write_bytes(content)
    told = []
    public._from_url(f"{address}/a.zip")(tmp_path / "a.zip", lambda *news: told.append(news))
    assert (tmp_path / "a.zip").read_bytes() == content
    assert told[-1] == (f"fetching {address}/a.zip", 200_000, 200_000)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_url_that_fails_or_never_ends_is_an_os_error(server, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address, folder = server
    with pytest.raises(OSError, match="404") as raised:
        public._from_url(f"{address}/none.zip")(tmp_path / "a.zip", public._silent)
    raised.value.close()
    (folder / "a.zip").write_bytes(b"0" * 5000)
    monkeypatch.setattr(public, "_LARGEST", 1000)
    with pytest.raises(OSError, match="found more than 1,000 bytes"):
        public._from_url(f"{address}/a.zip")(tmp_path / "a.zip", public._silent)


def test_pip_that_finds_nothing_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        OSError, match=r"pip download failed: ERROR: No matching distribution found for recbole==1\.2\.1"
    ):
        public._from_wheel("recbole==1.2.1")(tmp_path / "wheel.whl", public._silent)


@pytest.mark.network
def test_the_real_data_set_has_its_published_size(tmp_path):
    paths = download("movielens-100k", tmp_path / "out", cache=tmp_path / "cache")
    assert [len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in paths] == [100_000, 943, 1_682]
