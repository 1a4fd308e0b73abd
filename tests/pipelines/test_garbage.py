"""Clearing away: what is needed stays, whatever was changed, killed or damaged before."""

import shutil

import pytest

from pipelines.garbage import collect, find_leftovers, holdings
from pipelines.graph import Observer, execute, plan
from pipelines.stage import Stage
from pipelines.store import MANIFEST, Store
from recsys.errors import ArtifactError, WorkspaceError
from recsys.release.registry import REGISTRY, Registry, Step


class Ran(Observer):
    def __init__(self):
        self.names = []

    def on_start(self, stage, why):
        self.names.append(stage.name)


def ran(stages, workspace):
    observer = Ran()
    execute(stages, workspace, observer=observer)
    return observer.names


def stage(name, size, *inputs):
    def run(context):
        (context.folder / "data").write_bytes(b"x" * size)

    return Stage(name, run, config={"size": size}, inputs=inputs)


def graph(first=100, second=200):
    return [stage("first", first), stage("second", second, "first")]


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"


def test_a_workspace_that_was_never_used_holds_nothing(workspace):
    assert collect(graph(), workspace) == []
    assert sum(part.size for part in holdings(plan(graph(), workspace), workspace)) == 0
    assert not workspace.exists()


def test_outputs_of_settings_given_up_are_removed_and_those_in_use_stay(workspace):
    execute(graph(second=200), workspace)
    execute(graph(second=300), workspace)
    before = find_leftovers(graph(second=300), workspace)
    assert [left.what for left in before] == ["second"]
    assert before[0].size == 200 + (before[0].folder / MANIFEST).stat().st_size
    assert collect(graph(second=300), workspace) == before
    assert not before[0].folder.exists()
    assert ran(graph(second=300), workspace) == []
    assert find_leftovers(graph(second=300), workspace) == []
    assert list(workspace.glob("artifacts/*/.tmp-*")) == []


def test_the_last_run_is_kept_though_the_configuration_changed(workspace):
    execute(graph(), workspace)
    latest = Store(workspace).latest()
    assert collect(graph(first=111), workspace) == []
    assert Store(workspace).latest() == latest


def test_what_an_unfinished_run_made_is_kept(workspace):
    execute(graph(), workspace)
    execute(graph(first=111), workspace, until="first")
    assert collect(graph(first=111), workspace) == []
    assert ran(graph(first=111), workspace) == ["second"]


def test_a_damaged_artifact_and_what_a_killed_run_left_go(workspace):
    execute(graph(), workspace)
    damaged = Store(workspace).latest()["second"].folder
    shutil.copytree(damaged, damaged.with_name("0" * 16))
    (damaged.with_name("0" * 16) / MANIFEST).write_text("{")
    killed = damaged.with_name(".tmp-killed")
    killed.mkdir()
    assert [left.folder.name for left in collect(graph(), workspace)] == ["0" * 16]
    assert not killed.exists()


def test_a_stage_that_is_no_more_goes_with_its_folder(workspace):
    execute([*graph(), stage("old", 10)], workspace)
    execute(graph(), workspace)
    assert [left.what for left in collect(graph(), workspace)] == ["old"]
    assert sorted(path.name for path in (workspace / "artifacts").iterdir()) == ["first", "second"]


@pytest.mark.parametrize("record", ["{", '{"stages": []}', '{"stages": {"first": 1}}', "{}"])
def test_without_a_readable_record_of_the_last_run_nothing_goes(workspace, record):
    execute(graph(), workspace)
    (workspace / "latest.json").write_text(record)
    with pytest.raises(ArtifactError, match=r"latest\.json"):
        collect(graph(first=5), workspace)
    assert len(Store(workspace).folders()) == 2


def test_a_workspace_in_use_is_left_alone(workspace):
    execute(graph(), workspace)
    execute(graph(second=300), workspace)
    with Store(workspace).lock(), pytest.raises(WorkspaceError, match="in use by process"):
        collect(graph(second=300), workspace, wait=False)
    assert len(Store(workspace).folders()) == 3


def test_links_are_not_followed(workspace, tmp_path):
    execute(graph(), workspace)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    (workspace / "artifacts" / "first" / ("f" * 16)).symlink_to(outside)
    assert collect(graph(), workspace) == []
    assert (outside / "precious").read_text() == "kept"


def test_bundles_stay_unless_told_and_those_promoted_even_then(workspace):
    execute(graph(), workspace)
    bundles = workspace / "bundles"
    for version in range(1, 7):
        (bundles / str(version)).mkdir(parents=True)
        (bundles / str(version) / "data").write_bytes(b"x" * version)
    steps = [("champion", 1), ("champion", 3), ("challenger", 2)]
    history = tuple(Step(role=role, version=version, previous=None, at="") for role, version in steps)
    registry = Registry(champion=3, challenger=2, history=history)
    (bundles / REGISTRY).write_text(registry.model_dump_json())
    assert collect(graph(), workspace) == []
    removed = collect(graph(), workspace, keep_bundles=1)
    assert [(left.what, left.size) for left in removed] == [("bundle 4", 4), ("bundle 5", 5)]
    assert sorted(path.name for path in bundles.iterdir()) == ["1", "2", "3", "6", REGISTRY]
    assert collect(graph(), workspace, keep_bundles=9) == []


def test_holdings_add_up_to_what_is_on_disk(workspace):
    execute(graph(second=200), workspace)
    execute(graph(second=300), workspace)
    (workspace / "mlflow.db").write_bytes(b"x" * 1000)
    (workspace / "bundles" / "1").mkdir(parents=True)
    (workspace / "bundles" / "1" / "file").write_bytes(b"x" * 50)
    sizes = {part.what: part.size for part in holdings(plan(graph(second=300), workspace), workspace)}
    assert sum(sizes.values()) == sum(path.stat().st_size for path in workspace.rglob("*") if path.is_file())
    assert (sizes["bundles"], sizes["tracking"]) == (50, 1000)
    assert sizes["left over (recsys gc removes it)"] == find_leftovers(graph(second=300), workspace)[0].size
