"""A finished bundle becomes a version once; on the tiny bundle."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from recsys.bundle.format import open_bundle, read_provenance
from recsys.bundle.store import versions
from recsys.errors import BundleError, WorkspaceError
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.release.build import build_bundle
from recsys.release.publish import publish_bundle


@pytest.fixture
def source(tiny_bundle, tmp_path):
    """A copy of the tiny bundle that may be damaged."""
    return shutil.copytree(tiny_bundle, tmp_path / "source")


@pytest.fixture(scope="session")
def other_bundle(tiny_parts, tiny_info, tmp_path_factory):
    """The tiny bundle under another name: other content."""
    return build_bundle(tiny_parts, replace(tiny_info, name="other"), tmp_path_factory.mktemp("other"))


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_content_is_published_once(source, tmp_path):
    bundles = tmp_path / "bundles"
    first = publish_bundle(source, bundles, run_id="run-1")
    before = bytes_of(bundles)
    assert first == bundles / "1"
    assert publish_bundle(source, bundles, run_id="run-2") == first
    assert bytes_of(bundles) == before
    assert read_provenance(first).run_id == "run-1"


def test_other_content_is_the_next_version_and_older_content_a_new_one(source, other_bundle, tmp_path):
    bundles = tmp_path / "bundles"
    given = [source, other_bundle, other_bundle, source]
    assert [publish_bundle(bundle, bundles).name for bundle in given] == ["1", "2", "2", "3"]
    hashes = [open_bundle(bundles / str(version)).content_hash for version in versions(bundles)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_provenance_is_the_source_s_with_run_and_revision(source, tmp_path):
    built = read_provenance(source)
    published = publish_bundle(source, tmp_path / "bundles", run_id="run-7", git_revision="abc+")
    found = read_provenance(published)
    assert (found.run_id, found.git_revision) == ("run-7", "abc+")
    assert found == built.model_copy(update={"run_id": "run-7", "git_revision": "abc+"})
    assert read_provenance(source) == built
    nothing = publish_bundle(source, tmp_path / "untracked")
    assert (read_provenance(nothing).run_id, read_provenance(nothing).git_revision) == (None, None)


def test_what_is_published_answers_as_the_source_does(source, tmp_path):
    published = publish_bundle(source, tmp_path / "bundles", run_id="run-1")
    asked = [Request(user_id="u1"), Request(history=("i1", "i2"))]
    assert Funnel.load(published).recommend(asked, 5) == Funnel.load(source).recommend(asked, 5)


@pytest.mark.parametrize("damage", ["changed", "missing", "extra"])
def test_a_damaged_source_is_refused_and_nothing_is_left(source, tmp_path, damage):
    victim = next(path for path in sorted(source.rglob("*.npy")))
    if damage == "changed":
        data = bytearray(victim.read_bytes())
        data[-1] ^= 1
        victim.write_bytes(data)
    elif damage == "missing":
        victim.unlink()
    else:
        victim = source / "notes.txt"
        victim.write_text("mine")
    said = {"changed": "sha256 .*, but", "missing": "missing, but listed", "extra": "not listed"}[damage]
    with pytest.raises(BundleError, match=rf"{victim.name}: {said}"):
        publish_bundle(source, tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


def test_a_damaged_newest_version_is_named_left_alone_and_followed_by_a_sound_one(source, tmp_path):
    bundles = tmp_path / "bundles"
    manifest = publish_bundle(source, bundles) / "manifest.json"
    manifest.write_text("{}")
    said = []
    assert publish_bundle(source, bundles, say=said.append) == bundles / "2"
    assert said == [
        f"{manifest}: does not match its own sha256; copy the bundle again; the next version is a sound copy"
    ]
    assert manifest.read_text() == "{}"
    assert open_bundle(bundles / "2").content_hash == open_bundle(source).content_hash
    assert publish_bundle(source, bundles, say=said.append) == bundles / "2"
    assert len(said) == 1


def test_what_a_killed_publisher_left_is_removed(source, tmp_path):
    left = tmp_path / "bundles" / ".staging-abc"
    left.mkdir(parents=True)
    (left / "half.npy").write_bytes(b"half")
    publish_bundle(source, tmp_path / "bundles")
    assert not left.exists()


def test_two_at_once_publish_one_version(source, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: publish_bundle(source, tmp_path / "bundles"), range(4)))
    assert set(found) == {tmp_path / "bundles" / "1"}
    assert versions(tmp_path / "bundles") == [1]


def test_a_folder_that_cannot_be_made_is_named(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"file/bundles: cannot be written \(Not a directory\)"):
        publish_bundle(source, tmp_path / "file" / "bundles")
