import itertools
import json
import threading

import pytest

from recsys.bundle.format import FusionSpec, Manifest, PartSpec, Policy, Provenance, write_manifest, write_provenance
from recsys.bundle.store import publish, stage
from recsys.errors import ArtifactError, BundleError, InputError
from recsys.release.registry import REGISTRY, Registry, promote, promoted, read_registry, rollback, serving_bundle


@pytest.fixture
def bundles(tmp_path):
    """Three bundles of one file."""
    for _ in range(3):
        with stage(tmp_path) as folder:
            (folder / "file").write_text("x")
            write_provenance(folder, Provenance(created_at="now", host="here"))
            write_manifest(
                folder,
                Manifest(
                    name="tiny",
                    config_hash="",
                    features_hash="",
                    data_hash="",
                    protocol="",
                    policy=Policy(),
                    fusion=FusionSpec(k=60, weights={"a": 1}, per_route=1, candidates=1),
                    routes=(PartSpec(name="a", kind="static"),),
                    ranker=None,
                ),
            )
            publish(folder)
    return tmp_path


def test_nothing_promoted_serves_the_latest(bundles):
    assert read_registry(bundles) == Registry()
    assert serving_bundle(bundles) == bundles / "3"


def test_promote_and_pin(bundles):
    promote(bundles, 2)
    assert serving_bundle(bundles) == bundles / "2"
    assert serving_bundle(bundles, 1) == bundles / "1"
    assert serving_bundle(bundles / "1") == bundles / "1"


def test_roles_are_apart(bundles):
    promote(bundles, 1)
    registry = promote(bundles, 3, role="challenger")
    assert (registry.champion, registry.challenger) == (1, 3)
    assert [(s.role, s.previous, s.version) for s in registry.history] == [
        ("champion", None, 1),
        ("challenger", None, 3),
    ]


def test_promoted_are_those_a_pointer_can_come_to_stand_at(bundles):
    assert promoted(read_registry(bundles)) == set()
    promote(bundles, 1)
    promote(bundles, 2)
    assert promoted(promote(bundles, 3, role="challenger")) == {1, 2, 3}
    assert promoted(rollback(bundles)) == {1, 3}


def test_rollback_walks_back_and_says_when_there_is_nothing_left(bundles):
    for version in (1, 2, 3):
        promote(bundles, version)
    assert [rollback(bundles).champion, rollback(bundles).champion] == [2, 1]
    with pytest.raises(InputError, match="champion: no earlier version to go back to; `recsys models` lists"):
        rollback(bundles)
    assert promote(bundles, 3).champion == 3
    assert rollback(bundles).champion == 1
    assert len(read_registry(bundles).history) == 7


def test_promoting_the_champion_again_changes_nothing(bundles):
    assert promote(bundles, 2) == promote(bundles, 2)


def test_a_missing_or_damaged_version_is_not_promoted(bundles):
    with pytest.raises(BundleError, match=r"no version 9; found \[1, 2, 3\]"):
        promote(bundles, 9)
    (bundles / "2" / "file").write_text("y")
    with pytest.raises(BundleError, match="file: sha256"):
        promote(bundles, 2)
    assert read_registry(bundles) == Registry()


@pytest.mark.parametrize("text", ["", "[]", '{"champion": 0}', '{"champion": "x"}', '{"champoin": 1}'])
def test_a_damaged_registry_is_named(bundles, text):
    (bundles / REGISTRY).write_text(text)
    with pytest.raises(ArtifactError, match=r"registry\.json: .*; restore it, or remove it and promote again"):
        serving_bundle(bundles)


def test_promotions_at_the_same_time_lose_none(bundles):
    threads = [threading.Thread(target=promote, args=(bundles, 1 + n % 3)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = read_registry(bundles).history
    assert all(later.previous == earlier.version for earlier, later in itertools.pairwise(history))
    assert json.loads((bundles / REGISTRY).read_text())["champion"] == history[-1].version
