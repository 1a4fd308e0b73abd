"""The graph: what runs, what is reused and why, without an orchestrator, on three rows."""

import hashlib
import json
import os
import shutil
import threading
import time
from dataclasses import replace

import pytest

from pipelines import fingerprint, sources
from pipelines.fingerprint import FileHashes, hash_file
from pipelines.garbage import collect
from pipelines.graph import Observer, Observers, execute, plan, select
from pipelines.sources import Sources
from pipelines.stage import Stage
from pipelines.store import MANIFEST, Store
from recsys.errors import ArtifactError, InputError, WorkspaceError

ROWS = "u1,i1\nu1,i2\nu2,i1\n"


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.ran, self.skipped, self.reasons, self.failed, self.points, self.said = [], [], {}, [], [], []

    def on_start(self, stage, why):
        self.reasons[stage.name] = why

    def on_metric(self, stage, name, value, step):
        self.points.append((stage.name, name, value, step))

    def on_message(self, stage, text):
        self.said.append((stage.name, text))

    def on_skip(self, stage, artifact):
        self.skipped.append(stage.name)

    def on_finish(self, stage, artifact):
        self.ran.append(stage.name)

    def on_fail(self, stage, error):
        self.failed.append((stage.name, type(error)))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(ROWS)
    return path


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"


def ingest(path):
    def run(context):
        rows = path.read_text().splitlines()
        (context.folder / "rows.txt").write_text("\n".join(sorted(rows)))
        return {"rows": len(rows)}

    return run


def count(column):
    def run(context):
        rows = (context.inputs["ingest"] / "rows.txt").read_text().splitlines()
        counts = {}
        for row in rows:
            key = row.split(",")[column]
            counts[key] = counts.get(key, 0) + 1
        (context.folder / "deep").mkdir()
        (context.folder / "deep" / "counts.json").write_text(json.dumps(counts))
        context.log("largest", max(counts.values()), 0)
        context.say("counted")

    return run


def join(context):
    parts = [json.loads((folder / "deep" / "counts.json").read_text()) for folder in context.inputs.values()]
    (context.folder / "all.json").write_text(json.dumps(parts))


@pytest.fixture
def stages(log):
    # Given out of order on purpose.
    return [
        Stage("report", join, inputs=("recall.users", "recall.items")),
        Stage("recall.users", count(0), config={"routes": {"users": {"k": 2}}}, inputs=("ingest",)),
        Stage("recall.items", count(1), config={"routes": {"items": {"k": 2, "w": [1, 2]}}}, inputs=("ingest",)),
        Stage("ingest", ingest(log), files=(log,)),
    ]


def changed(stages, name, **changes):
    return [replace(stage, **changes) if stage.name == name else stage for stage in stages]


def states(stages, workspace, **options):
    return {status.stage: (status.state, status.why) for status in plan(stages, workspace, **options)}


def settle(stages, workspace, **options):
    notes = Notes()
    artifacts = execute(stages, workspace, observer=notes, **options)
    return notes, artifacts


def everything(workspace):
    """All bytes of all artifacts but the times and memory that manifests tell."""
    return {
        str(path.relative_to(workspace)): path.read_bytes()
        for path in sorted((workspace / "artifacts").rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def test_a_run_gives_every_stage_its_inputs_and_a_second_run_does_nothing(stages, workspace):
    assert set(states(stages, workspace).values()) == {("missing", "never ran")}
    assert not workspace.exists()
    notes, artifacts = settle(stages, workspace)
    assert notes.ran == ["ingest", "recall.users", "recall.items", "report"]
    assert json.loads((artifacts["report"].folder / "all.json").read_text()) == [
        {"u1": 2, "u2": 1},
        {"i1": 2, "i2": 1},
    ]
    assert artifacts["ingest"].metrics == {"rows": 3.0}
    assert artifacts["recall.users"].curves == {"largest": ((0, 2.0),)}
    assert notes.points == [("recall.users", "largest", 2, 0), ("recall.items", "largest", 2, 0)]
    assert notes.said == [("recall.users", "counted"), ("recall.items", "counted")]
    assert not artifacts["ingest"].cached

    notes, again = settle(stages, workspace)
    assert notes.ran == []
    assert notes.skipped == ["ingest", "recall.users", "recall.items", "report"]
    assert {name: replace(artifact, cached=False) for name, artifact in again.items()} == artifacts
    assert set(states(stages, workspace).values()) == {("fresh", "")}


def test_latest_is_what_the_last_complete_run_made(stages, workspace):
    store = Store(workspace)
    assert store.latest() == {}
    execute(stages, workspace, until="ingest")
    assert store.latest() == {}
    _, artifacts = settle(stages, workspace)
    assert {name: artifact.folder for name, artifact in store.latest().items()} == {
        name: artifact.folder for name, artifact in artifacts.items()
    }
    shutil.rmtree(artifacts["report"].folder)
    with pytest.raises(ArtifactError, match=r"artifacts/report/.*: missing; run the pipeline again$"):
        store.latest()


def test_a_config_change_reruns_what_follows_and_says_what_changed(stages, workspace):
    execute(stages, workspace)
    new = changed(stages, "recall.items", config={"routes": {"items": {"k": 3, "w": [1, 2], "new": "x"}}})
    assert states(new, workspace) == {
        "ingest": ("fresh", ""),
        "recall.users": ("fresh", ""),
        "recall.items": (
            "stale",
            'config changed: routes.items.k 2 → 3; config changed: routes.items.new (absent) → "x"',
        ),
        "report": ("stale", "input has to run first: recall.items"),
    }
    notes, _ = settle(new, workspace)
    # The counts are the same bytes whatever k is, so the report stands.
    assert (notes.ran, notes.skipped) == (["recall.items"], ["ingest", "recall.users", "report"])
    assert set(states(stages, workspace).values()) == {("fresh", "")}


def test_many_config_changes_are_cut_short(stages, workspace):
    execute(changed(stages, "ingest", config=dict.fromkeys("abcde", 1)), workspace)
    new = changed(stages, "ingest", config=dict.fromkeys("abcde", 2))
    shown = [f"config changed: {letter} 1 → 2" for letter in "abc"]
    assert states(new, workspace)["ingest"] == ("stale", "; ".join([*shown, "config changed: and 2 more"]))


def test_a_changed_input_is_named(stages, workspace, log):
    execute(stages, workspace)
    log.write_text(ROWS + "u3,i1\n")
    assert states(stages, workspace)["ingest"] == ("stale", f"file changed: {log}")
    execute(stages, workspace, until="ingest")
    assert states(stages, workspace)["recall.users"] == ("stale", "input changed: ingest")
    notes, _ = settle(stages, workspace)
    assert notes.ran == ["recall.users", "recall.items", "report"]
    assert notes.reasons["report"] == "input changed: recall.items, recall.users"


def test_a_seed_counts(stages, workspace):
    execute(stages, workspace)
    assert states(changed(stages, "ingest", seed=7), workspace)["ingest"] == ("stale", "seed changed: 0 → 7")


def test_a_missing_file_is_for_the_stage_to_complain_about(stages, workspace, log):
    execute(stages, workspace)
    log.unlink()
    assert states(stages, workspace)["ingest"] == ("stale", f"file changed: {log}; file missing: {log}")
    with pytest.raises(FileNotFoundError, match=r"log\.csv"):
        execute(stages, workspace)


def test_a_folder_counts_with_all_its_files(tmp_path, workspace):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    stages = [Stage("read", lambda context: None, files=(folder,))]
    execute(stages, workspace)
    (folder / "b.csv").write_text("2")
    assert states(stages, workspace)["read"] == ("stale", f"file changed: {folder / 'b.csv'}")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package whose modules import each other in every way there is."""
    package = tmp_path / "toypackage"
    (package / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "entry.py": "import toypackage.direct\ndef late():\n    from .sub import deep\n",
        "direct.py": "import json\nfrom recsys import errors\n",
        "unused.py": "",
        "sub/__init__.py": "from ..sibling import X\n",
        "sub/deep.py": "",
        "sub/style.css": "",
        "sibling.py": "X = 1\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_sources_are_all_first_party_modules_that_imports_reach(toy):
    assert set(Sources().of(["toypackage.entry"])) == {
        "recsys/__init__.py",
        "recsys/errors.py",
        "recsys/py.typed",
        "toypackage/__init__.py",
        "toypackage/direct.py",
        "toypackage/entry.py",
        "toypackage/sibling.py",
        "toypackage/sub/__init__.py",
        "toypackage/sub/deep.py",
        "toypackage/sub/style.css",
    }
    assert Sources().of([]) == {}
    with pytest.raises(ValueError, match=r"^module toypackage\.gone: no source file; expected a module of"):
        Sources().of(["toypackage.gone"])


def test_imports_are_remembered_by_content_from_one_process_to_the_next(toy, tmp_path, monkeypatch):
    memory, parsed, parse = tmp_path / "deep" / "imports.json", [], sources._imports

    def counted(content, path, package):
        parsed.append(path.name)
        return parse(content, path, package)

    def found():
        parsed.clear()
        files = Sources(memory)
        hashes = files.of(["toypackage.entry"])
        files.save()
        return hashes

    monkeypatch.setattr(sources, "_imports", counted)
    first = found()
    assert "sibling.py" in parsed
    assert found() == first
    assert parsed == []
    (toy / "unused.py").write_text("X = 1  # unlike any other\n")
    (toy / "sibling.py").write_text("from toypackage import unused\n")
    assert found().keys() == {*first, "toypackage/unused.py"}
    assert sorted(parsed) == ["sibling.py", "unused.py"]
    for damage in ("{ damaged", '{"toypackage 0": 1}', "[1]"):
        memory.write_text(damage)
        assert found().keys() == {*first, "toypackage/unused.py"}


def test_a_code_change_is_named_and_one_elsewhere_changes_nothing(toy, stages, workspace):
    stages = changed(stages, "recall.users", modules=("toypackage.entry",))
    execute(stages, workspace)
    (toy / "unused.py").write_text("# changed\n")
    assert states(stages, workspace)["recall.users"] == ("fresh", "")
    (toy / "sibling.py").write_text("X = 2\n")
    assert states(stages, workspace)["recall.users"] == ("stale", "code changed: toypackage/sibling.py")


def test_until_runs_what_is_needed_and_force_what_is_named(stages, workspace):
    assert settle(stages, workspace, until="recall.items")[0].ran == ["ingest", "recall.items"]
    assert settle(stages, workspace, until="recall")[0].ran == ["recall.users"]
    notes, _ = settle(stages, workspace, force=["recall"])
    assert notes.ran == ["recall.users", "recall.items", "report"]
    assert notes.reasons == {"recall.users": "forced", "recall.items": "forced", "report": "never ran"}
    assert [status.stage for status in plan(stages, workspace, until="ingest")] == ["ingest"]


def test_a_forced_stage_that_gives_the_same_bytes_leaves_the_rest_alone(stages, workspace):
    execute(stages, workspace)
    before = everything(workspace)
    notes, _ = settle(stages, workspace, force=["ingest"])
    assert (notes.ran, len(notes.skipped)) == (["ingest"], 3)
    assert everything(workspace) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "reprot"}, "--until reprot: no such stage; did you mean report?"),
        (
            {"force": ["zzz"]},
            "--force zzz: no such stage; expected one of report, recall.users, recall.items, ingest",
        ),
    ],
)
def test_a_stage_that_is_not_there_is_refused(stages, workspace, options, message):
    with pytest.raises(InputError) as caught:
        execute(stages, workspace, **options)
    assert str(caught.value) == message
    assert not workspace.exists()


def test_a_graph_that_cannot_be_ordered_is_refused():
    def idle(context):
        return None

    with pytest.raises(ValueError, match=r"^two stages share a name$"):
        select([Stage("a", idle), Stage("a", idle)])
    with pytest.raises(ValueError, match=r"^stage a: its input b is no stage$"):
        select([Stage("a", idle, inputs=("b",))])
    with pytest.raises(ValueError, match=r"^stages wait for each other: a → b → a$"):
        select([Stage("a", idle, inputs=("b",)), Stage("b", idle, inputs=("a",))])


def damage_cut(folder):
    (folder / "rows.txt").write_text("u1")
    return "found 2 bytes, expected 17"


def damage_remove(folder):
    (folder / "rows.txt").unlink()
    return "missing"


def damage_manifest(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"rows": 3', '"rows": 4'))
    return "does not match its checksum; the stage has to run again"


def damage_truncate_manifest(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])
    return "not a JSON object; the stage has to run again"


def damage_remove_manifest(folder):
    (folder / MANIFEST).unlink()
    return "cannot be read (No such file or directory); the stage has to run again"


@pytest.mark.parametrize(
    "damage", [damage_cut, damage_remove, damage_manifest, damage_truncate_manifest, damage_remove_manifest]
)
def test_a_damaged_artifact_is_noticed_named_and_made_again(stages, workspace, damage):
    _, artifacts = settle(stages, workspace)
    before = everything(workspace)
    what = damage(artifacts["ingest"].folder)
    state, why = states(stages, workspace)["ingest"]
    assert state == "stale"
    assert why.startswith(f"damaged: {artifacts['ingest'].folder}")
    assert why.endswith(what)
    notes, _ = settle(stages, workspace)
    assert (notes.ran, notes.reasons) == (["ingest"], {"ingest": why})
    assert everything(workspace) == before


def test_one_changed_byte_is_found_by_verifying(stages, workspace):
    _, artifacts = settle(stages, workspace)
    path = artifacts["ingest"].folder / "rows.txt"
    path.write_text(path.read_text().replace("u2", "u9"))
    assert states(stages, workspace)["ingest"] == ("fresh", "")
    why = f"damaged: {path}: its bytes are not those that were written"
    assert states(stages, workspace, verify=True)["ingest"] == ("stale", why)
    notes, _ = settle(stages, workspace, verify=True)
    assert notes.reasons == {"ingest": why}
    assert path.read_text() == "u1,i1\nu1,i2\nu2,i1"


def test_a_failing_stage_leaves_nothing_and_keeps_what_was_finished(stages, workspace):
    def fail(context):
        (context.folder / "half.txt").write_text("half")
        raise RuntimeError("no")

    broken = changed(stages, "recall.items", run=fail)
    notes = Notes()
    with pytest.raises(RuntimeError, match=r"^no$"):
        execute(broken, workspace, observer=notes)
    assert notes.failed == [("recall.items", RuntimeError)]
    assert list((workspace / "artifacts" / "recall.items").iterdir()) == []
    assert settle(stages, workspace)[0].skipped == ["ingest", "recall.users"]


def test_what_killed_runs_left_is_removed(stages, workspace):
    left = workspace / "artifacts" / "ingest" / ".tmp-123"
    left.mkdir(parents=True)
    (left / "half.txt").write_text("half")
    execute(stages, workspace)
    assert not list(workspace.rglob(".tmp-*"))


def test_scratch_is_thrown_away(workspace):
    def run(context):
        (context.scratch / "big.bin").write_bytes(b"0" * 10)
        (context.folder / "out.txt").write_text("out")

    artifact = execute([Stage("one", run)], workspace)["one"]
    assert sorted(path.name for path in artifact.folder.iterdir()) == [MANIFEST, "out.txt"]
    assert not list(workspace.rglob("big.bin"))


def test_a_swallowed_interrupt_still_stops_the_run(workspace):
    def training(context):
        (context.folder / "model.txt").write_text("half trained")
        try:
            os.kill(os.getpid(), 2)
            threading.Event().wait(5)
        except KeyboardInterrupt:
            return {"epochs": 1.0}

    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        execute([Stage("train", training)], workspace, observer=notes)
    assert notes.failed == [("train", KeyboardInterrupt)]
    assert list((workspace / "artifacts" / "train").iterdir()) == []


def test_a_full_disk_is_said_in_plain_words(workspace):
    def fill(context):
        with open("/dev/full", "w") as file:
            file.write("x")

    with pytest.raises(WorkspaceError) as caught:
        execute([Stage("big", fill)], workspace)
    assert str(caught.value) == (
        f"{workspace}: no space left (No space left on device); free some and run the same command again, "
        "what was finished is kept"
    )
    assert list((workspace / "artifacts" / "big").iterdir()) == []


def test_a_workspace_that_cannot_be_written_is_said_in_plain_words(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    workspace = tmp_path / "taken" / "workspace"
    with pytest.raises(WorkspaceError) as caught:
        execute([Stage("one", lambda context: None)], workspace)
    assert str(caught.value) == (
        f"{workspace}: cannot be written (Not a directory: {workspace / 'artifacts'}); "
        "check its owner and mode, or set `workspace` to another folder"
    )


def test_errors_of_a_stage_about_files_pass_unchanged(workspace, tmp_path):
    def read(context):
        (tmp_path / "gone.csv").read_text()

    def forget(context):
        (context.folder / "gone.csv").read_text()

    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        execute([Stage("one", forget)], workspace)
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        execute([Stage("one", read)], workspace)


def test_a_second_run_waits_or_fails_and_says_who_it_is(workspace):
    running, go = threading.Event(), threading.Event()

    def slow(context):
        running.set()
        assert go.wait(10)
        (context.folder / "x.txt").write_text("x")

    stages = [Stage("slow", slow)]
    first = threading.Thread(target=execute, args=(stages, workspace))
    first.start()
    assert running.wait(10)
    with pytest.raises(WorkspaceError) as caught:
        execute(stages, workspace, wait=False)
    text = str(caught.value)
    assert text.startswith(f"{workspace}: in use by process {os.getpid()} on ")
    assert text.endswith("; wait for it to end, or stop it")

    class Waiter(Notes):
        def on_wait(self, text):
            assert text.endswith("; waiting for it to end")
            self.waited = True
            go.set()

    waiter = Waiter()
    execute(stages, workspace, observer=waiter)
    first.join()
    # The first run made it, the second found it.
    assert (waiter.waited, waiter.ran, waiter.skipped) == (True, [], ["slow"])


def test_several_observers_hear_the_same(stages, workspace):
    one, two = Notes(), Notes()
    execute(stages, workspace, observer=Observers(one, two))
    assert vars(one) == vars(two)
    assert len(one.ran) == 4


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    """A file whose hash is remembered, and a function that gives the hash and says whether the file was read for it."""
    # The time of status change cannot be set, so the limit moves instead of the file's age.
    monkeypatch.setattr(fingerprint, "_RACY_NS", -1)
    path, memory, read = tmp_path / "a.bin", tmp_path / "deep" / "files.json", []

    def counted(file):
        read.append(file)
        return hash_file(file)

    def digest():
        read.clear()
        hashes = FileHashes(memory)
        found = hashes.of([path])[str(path)]
        hashes.save()
        return found, bool(read)

    monkeypatch.setattr(fingerprint, "hash_file", counted)
    path.write_bytes(b"one")
    assert digest() == (hashlib.sha256(b"one").hexdigest(), True)
    return path, memory, digest


def test_a_file_that_did_not_change_is_not_read_again(remembered):
    _, _, digest = remembered
    assert digest() == (hashlib.sha256(b"one").hexdigest(), False)


def test_a_file_changed_in_place_with_the_same_size_and_modification_time_is_read_again(remembered):
    path, _, digest = remembered
    before = path.stat()
    time.sleep(0.02)  # kernels keep times to a few milliseconds
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert digest() == (hashlib.sha256(b"two").hexdigest(), True)


def test_another_file_moved_to_the_path_with_its_size_and_times_is_read_again(remembered):
    path, _, digest = remembered
    other, before = path.with_name("b.bin"), path.stat()
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert digest() == (hashlib.sha256(b"two").hexdigest(), True)


@pytest.mark.parametrize("text", ["{ damaged", "[1]", '{"%s": [3, 5, "of an earlier version"]}'])
def test_a_memory_that_cannot_be_used_costs_a_hash(remembered, text):
    path, memory, digest = remembered
    memory.write_text(text.replace("%s", str(path.resolve())))
    assert digest() == (hashlib.sha256(b"one").hexdigest(), True)
    assert digest() == (hashlib.sha256(b"one").hexdigest(), False)


def test_a_file_changed_a_moment_ago_is_not_remembered(tmp_path):
    path, memory = tmp_path / "a.bin", tmp_path / "files.json"
    path.write_bytes(b"one")
    now = path.stat().st_mtime_ns
    for moment in (now, now - 10**11):  # an old modification time says nothing: it may have been set a moment ago
        os.utime(path, ns=(moment, moment))
        hashes = FileHashes(memory)
        hashes.of([path])
        hashes.save()
        assert not memory.exists()


def test_what_a_killed_stage_left_to_go_on_from_is_found_by_its_key_and_gone_at_the_end(workspace):
    found = []

    def run(context):
        found.append(sorted(path.name for path in context.unfinished.glob("*")))
        context.unfinished.mkdir(parents=True, exist_ok=True)
        (context.unfinished / f"part {len(found)}").touch()
        if len(found) < 4:
            raise KeyboardInterrupt

    stage = Stage("one", run, config={"size": 1})
    for again in (stage, replace(stage, seed=5), stage):
        with pytest.raises(KeyboardInterrupt):
            execute([again], workspace)
    execute([stage], workspace)
    assert found == [[], [], ["part 1"], ["part 1", "part 3"]]
    # What another key left is nobody's any more, which the next collection sees to.
    assert [path.name for path in (workspace / "unfinished").rglob("part*")] == ["part 2"]
    assert [left.what for left in collect([stage], workspace)] == ["one, unfinished"]
    assert list((workspace / "unfinished").iterdir()) == []
