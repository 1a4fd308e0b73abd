import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys.bundle.format import MANIFEST
from recsys.bundle.store import latest, publish, resolve, stage, versions
from recsys.errors import BundleError, WorkspaceError


def add(bundles, text="x"):
    with stage(bundles) as folder:
        (folder / MANIFEST).write_text(text)
        return publish(folder)


def test_versions_count_up_from_the_highest(tmp_path):
    assert versions(tmp_path / "bundles") == []
    assert [add(tmp_path).name for _ in range(3)] == ["1", "2", "3"]
    (tmp_path / "10").mkdir()
    for other in ("latest", "007", "²", "-1", ".staging-x"):
        (tmp_path / other).mkdir()
    (tmp_path / "99").write_text("a file")
    assert versions(tmp_path) == [1, 2, 3, 10]
    assert add(tmp_path) == tmp_path / "11"
    assert latest(tmp_path) == tmp_path / "11"


def test_a_removed_version_number_is_not_given_again_while_a_higher_one_stands(tmp_path):
    add(tmp_path), add(tmp_path)
    os.rename(tmp_path / "1", tmp_path / "gone")
    assert add(tmp_path).name == "3"


def test_a_failure_leaves_nothing_behind(tmp_path):
    def build():
        with stage(tmp_path) as folder:
            (folder / "half").write_text("written")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        build()
    assert list(tmp_path.iterdir()) == []


def test_publishers_at_the_same_time_get_different_versions(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda n: add(tmp_path, str(n)), range(16)))
    assert sorted(int(p.name) for p in paths) == list(range(1, 17))
    assert {(p / MANIFEST).read_text() for p in paths} == {str(n) for n in range(16)}


def test_a_published_bundle_can_be_read_by_others(tmp_path):
    assert add(tmp_path).stat().st_mode & 0o777 == 0o755


def test_resolve(tmp_path):
    first, second = add(tmp_path), add(tmp_path)
    assert resolve(tmp_path) == second
    assert resolve(first) == first
    assert resolve(tmp_path, 1) == first
    with pytest.raises(BundleError, match=r"no version 7; found \[1, 2\]"):
        resolve(tmp_path, 7)
    with pytest.raises(BundleError, match=r"empty: no bundle here; `recsys run` builds one"):
        resolve(tmp_path / "empty")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WorkspaceError, match=r"bundles: cannot be written \(Not a directory\)"),
        stage(tmp_path / "file/bundles"),
    ):
        pass
