"""Things that go wrong at night, done for real to runs of the command line: nothing is lost or half-written."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.graph import execute
from pipelines.stage import Stage
from pipelines.store import MANIFEST, Store, read_artifact
from recsys.bundle.format import open_bundle
from recsys.bundle.store import versions
from recsys.cli import run_command
from recsys.errors import ArtifactError, WorkspaceError

SMALL = ["--set", "routes={popular: {kind: popular}, itemcf: {kind: itemcf}}", "--set", "ranking=null"]
RUN = ["run", "shop.yaml", *SMALL]
STATUS = ["status", "shop.yaml", *SMALL, "--json"]
STAGES = 10
WORKSPACE = Path("workspace")


def start(folder):
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "recsys", *RUN],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(process, count):
    """Reads what a run says until so many stages are settled."""
    said = []
    while len(said) < count:
        line = process.stderr.readline()
        if not line:
            break
        if line.startswith(("✓", "·")):
            said.append(line)
    return said


def outputs(folder):
    """The hash of every file of the last complete run, by stage; all but when and where a bundle was made."""
    return {
        stage: {name: digest for name, (digest, _) in found.files.items() if not name.endswith("provenance.json")}
        for stage, found in Store(folder / WORKSPACE).latest().items()
    }


def served(folder):
    """The content of the newest bundle."""
    bundles = folder / WORKSPACE / "bundles"
    return open_bundle(bundles / str(versions(bundles)[-1])).content_hash


def leftovers(folder):
    return [path for path in (folder / WORKSPACE).rglob("*") if path.name.startswith((".tmp-", ".staging-"))]


@pytest.fixture(scope="module")
def fresh(shop, tmp_path_factory):
    """A shop that has not run."""
    folder = tmp_path_factory.mktemp("fresh")
    shop["write_shop"](folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(fresh, tmp_path_factory):
    """A shop whose small pipeline ran undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "shop"
    shutil.copytree(fresh, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command(RUN) == 0
    return folder


@pytest.fixture
def shop_folder(fresh, tmp_path, monkeypatch):
    """A copy of the shop that has not run, with the current directory in it."""
    monkeypatch.chdir(shutil.copytree(fresh, tmp_path / "shop"))
    return Path.cwd()


@pytest.fixture
def finished_folder(undisturbed, tmp_path, monkeypatch):
    """A copy of the shop that ran, with the current directory in it."""
    monkeypatch.chdir(shutil.copytree(undisturbed, tmp_path / "shop"))
    return Path.cwd()


@pytest.fixture
def recsys(capsys):
    """Runs a command in this process: exit code, what it printed, what it complained about."""

    def call(*arguments):
        code = run_command(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def assert_complete(folder, undisturbed):
    """The next run completes, with the outputs and the one bundle of a run that nothing disturbed."""
    assert run_command(RUN) == 0
    assert outputs(folder) == outputs(undisturbed)
    assert served(folder) == served(undisturbed)
    assert versions(folder / WORKSPACE / "bundles") == [1]
    assert leftovers(folder) == []


# kill -9


def kill_at(folder, settled, draw):
    """Kills a run some moment after so many of its stages were settled; whether there was still one to kill."""
    with start(folder) as process:
        wait_for_lines(process, settled)
        # Starting takes a second or two, most stages milliseconds, the last one a second.
        time.sleep(draw.uniform(0, {0: 1.5, STAGES - 1: 1.5, STAGES: 0.2}.get(settled, 0.05)))
        process.kill()
        killed = process.wait() == -signal.SIGKILL
    # A folder with a final name is a whole artifact, a bundle with a number a whole bundle.
    for path in (folder / WORKSPACE).glob("artifacts/*/[!.]*"):
        artifact = read_artifact(path)
        assert Store(folder / WORKSPACE).find(artifact.stage, artifact.key, full=True) is not None
    for path in (folder / WORKSPACE / "bundles").glob("[!.]*"):
        open_bundle(path)
    return killed


def test_kill_then_run_gives_the_same_outputs_and_bundle(shop_folder, undisturbed):
    draw = random.Random(0)
    killed = [kill_at(shop_folder, settled, draw) for settled in (0, 2, 6, 9, 10)]
    assert sum(killed) >= 3
    assert_complete(shop_folder, undisturbed)


@pytest.mark.slow
def test_kill_at_thirty_random_moments_then_run_gives_the_same_outputs_and_bundle(shop_folder, undisturbed):
    draw = random.Random(1)
    killed = 0
    for _ in range(10):
        shutil.rmtree(shop_folder / WORKSPACE, ignore_errors=True)
        killed += sum(kill_at(shop_folder, draw.randint(0, STAGES), draw) for _ in range(3))
        assert_complete(shop_folder, undisturbed)
    assert killed >= 20


# Ctrl-C


def test_ctrl_c_says_that_the_same_command_goes_on(shop_folder, undisturbed):
    with start(shop_folder) as process:
        settled = wait_for_lines(process, STAGES - 1)
        assert len(settled) == STAGES - 1
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "✗ evaluate        interrupted" in said
    assert "Interrupted. Finished stages are kept; the same command goes on from there." in said
    assert "Traceback" not in said
    assert leftovers(shop_folder) == []
    assert_complete(shop_folder, undisturbed)


# A disk that fills

NO_SPACE = "no space left ({}); free some and run the same command again, what was finished is kept"


@contextmanager
def no_file_larger_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# The largest files: of ingest 6 kB, of the bundle's manifest 14 kB, of the report hundreds.
@pytest.mark.parametrize(
    ("size", "fails"), [(4_000, "ingest"), (14_000, "bundle"), pytest.param(40_000, "evaluate", marks=pytest.mark.slow)]
)
def test_a_file_that_cannot_be_written_to_its_end(shop_folder, undisturbed, recsys, size, fails):
    with no_file_larger_than(size):
        code, _, err = recsys(*RUN)
    assert code == 1
    assert f"✗ {fails:<14}  failed" in err
    assert f"Error: workspace: {NO_SPACE.format('File too large')}" in err
    assert leftovers(shop_folder) == []
    assert not (shop_folder / WORKSPACE / "bundles").exists()
    assert_complete(shop_folder, undisturbed)


def test_a_bundle_that_cannot_be_published(finished_folder, undisturbed, recsys):
    shutil.rmtree(WORKSPACE / "bundles")
    with no_file_larger_than(9_000):
        code, _, err = recsys(*RUN)
    assert code == 1
    assert f"Error: workspace: {NO_SPACE.format('File too large')}" in err
    assert versions(WORKSPACE / "bundles") == []
    assert leftovers(finished_folder) == []
    assert_complete(finished_folder, undisturbed)


def _save_array(context):
    np.save(context.folder / "large.npy", np.random.default_rng(0).random(100_000))


def _save_index(context):
    import faiss

    index = faiss.IndexFlatIP(10)
    index.add(np.ones((10_000, 10), dtype=np.float32))
    faiss.write_index(index, str(context.folder / "index.faiss"))


# These libraries keep the number of the error to themselves.
@pytest.mark.parametrize(
    ("write", "what"),
    [(_save_array, "a file could not be written to its end"), (_save_index, "File too large")],
    ids=["numpy", "faiss"],
)
def test_libraries_that_do_not_say_what_failed(tmp_path, write, what):
    with no_file_larger_than(100_000), pytest.raises(WorkspaceError) as caught:
        execute([Stage("large", write)], tmp_path)
    assert str(caught.value) == f"{tmp_path}: {NO_SPACE.format(what)}"
    execute([Stage("large", write)], tmp_path)


def in_own_mounts(script, folder):
    """Runs a shell script that may mount; skips where that is not allowed."""
    try:
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount here")
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", textwrap.dedent(script)], cwd=folder, capture_output=True, text=True
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("size", "fails"),
    [
        ("420k", "bundle"),
        pytest.param("12k", "ingest", marks=pytest.mark.slow),
        pytest.param("60k", "split", marks=pytest.mark.slow),
        pytest.param("560k", "evaluate", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk(shop_folder, undisturbed, size, fails):
    run = f"{sys.executable} -m recsys " + " ".join(f"'{part}'" for part in RUN)
    out, err = in_own_mounts(
        f"""
        mkdir workspace && mount -t tmpfs -o size={size} none workspace
        {run}; echo "code $?"
        find workspace -name '.tmp-*' -o -name '.staging-*'
        mount -o remount,size=64m workspace
        {run}; echo "code $?"
        cp -r workspace kept
        """,
        shop_folder,
    )
    assert out == "code 1\nbundle: workspace/bundles/1\ncode 0\n"
    assert f"✗ {fails:<14}  failed" in err
    assert f"Error: workspace: {NO_SPACE.format('No space left on device')}" in err
    shutil.rmtree(shop_folder / WORKSPACE)
    (shop_folder / "kept").rename(shop_folder / WORKSPACE)
    assert_complete(shop_folder, undisturbed)


# Damaged files


def flip(path):
    """Changes a byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b"")


DAMAGES = [flip, cut, empty]


def written_by(folder, stage):
    """Every file of the stage's output, its manifest included."""
    artifact = Store(folder / WORKSPACE).latest()[stage]
    return [artifact.folder / name for name in (*sorted(artifact.files), MANIFEST)]


def every_stage(folder):
    return list(Store(folder / WORKSPACE).latest_keys())


@contextmanager
def damaged(path, damage):
    """The file is as it was afterwards."""
    before = path.read_bytes()
    damage(path)
    yield
    path.write_bytes(before)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_known_by_its_hash(finished_folder, damage):
    store = Store(WORKSPACE)
    checked = 0
    for stage, artifact in store.latest().items():
        for path in written_by(finished_folder, stage):
            with damaged(path, damage), pytest.raises(ArtifactError) as caught:
                store.find(stage, artifact.key, full=True)
            assert str(caught.value).startswith(f"{path.relative_to(finished_folder)}: ")
            checked += 1
    assert checked > 60


def test_status_with_verify_names_the_damaged_file(finished_folder, recsys):
    draw = random.Random(0)
    for stage in draw.sample(every_stage(finished_folder), 4):
        path = draw.choice(written_by(finished_folder, stage))
        with damaged(path, flip):
            code, out, _ = recsys(*STATUS, "--verify")
        told = {found["stage"]: found for found in json.loads(out)["stages"]}[stage]
        assert (code, told["state"]) == (0, "stale")
        assert told["why"].startswith(f"damaged: {path.relative_to(finished_folder)}: ")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_makes_every_damaged_output_again(finished_folder, undisturbed, damage):
    draw = random.Random(0)
    # A changed byte in a file of the right size is not looked for where there is nothing to do: one stage has to run.
    for stage, victims in [(stage, written_by(finished_folder, stage)) for stage in every_stage(finished_folder)]:
        damage(victims[-1] if stage == "evaluate" else draw.choice(victims[:-1]))
    assert_complete(finished_folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_one_damaged_file_is_named_and_made_again(finished_folder, undisturbed, recsys, damage):
    for stage in every_stage(finished_folder):
        for path in written_by(finished_folder, stage):
            damage(path)
            told = {found["stage"]: found for found in json.loads(recsys(*STATUS, "--verify")[1])["stages"]}[stage]
            assert told["why"].startswith(f"damaged: {path.relative_to(finished_folder)}: ")
            assert recsys(*RUN, "--force", "candidates")[0] == 0
            assert outputs(finished_folder) == outputs(undisturbed)
            assert served(finished_folder) == served(undisturbed)


def test_a_changed_byte_is_not_read_by_the_stages_after_it(finished_folder, undisturbed, recsys, monkeypatch):
    """Same size, readable, other events: only its hash tells."""
    other = [*RUN, "--set", "evaluation.bootstrap=60"]
    path = next(path for path in written_by(finished_folder, "split") if path.name == "item.npy")
    events = np.load(path)
    events[-100:] = events[-100:][::-1]
    np.save(path, events)
    code, _, err = recsys(*other)
    assert code == 0
    assert "✓ split" in err
    assert "· features        cached" in err
    clean = shutil.copytree(undisturbed, finished_folder.parent / "clean")
    monkeypatch.chdir(clean)
    assert recsys(*other)[0] == 0
    assert outputs(finished_folder) == outputs(clean)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bundle_with_any_damaged_file_is_refused_and_followed_by_a_sound_one(
    finished_folder, undisturbed, recsys, damage
):
    bundle = finished_folder / WORKSPACE / "bundles" / "1"
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        with damaged(path, damage):
            code, out, err = recsys("recommend", "workspace", "--user", "u 1")
        assert (code, out) == (1, "")
        assert err.startswith(f"Error: {path.relative_to(finished_folder)}: ")
    damage(path)
    code, _, err = recsys(*RUN)
    assert code == 0
    assert f"{path.relative_to(finished_folder)}: " in err
    assert "the next version is a sound copy" in err
    assert versions(bundle.parent) == [1, 2]
    assert served(finished_folder) == served(undisturbed)
    assert recsys("recommend", "workspace", "--user", "u 1")[0] == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_of_the_last_run_is_written_again(finished_folder, undisturbed, recsys, damage):
    record = WORKSPACE / "latest.json"
    before = json.loads(record.read_bytes())["stages"]
    damage(record)
    if damage is not flip:  # a flipped letter may well be one of a time
        for command in (STATUS, ["report", "shop.yaml"], ["gc", "shop.yaml", *SMALL]):
            code, _, err = recsys(*command)
            assert (code, err) == (1, f"Error: {record}: damaged; run the pipeline again\n")
    assert_complete(finished_folder, undisturbed)
    assert json.loads(record.read_bytes())["stages"] == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_remembered_hashes_cost_nothing_but_time(finished_folder, undisturbed, damage, monkeypatch):
    memory = WORKSPACE / "cache" / "files.json"
    # Files of a moment ago are not remembered, and the time of their creation cannot be set.
    monkeypatch.setattr("pipelines.fingerprint._RACY_NS", -1)
    assert run_command(RUN) == 0
    assert memory.exists()
    damage(memory)
    assert_complete(finished_folder, undisturbed)


@pytest.mark.parametrize("damage", [cut, empty])
def test_a_damaged_registry_is_named_with_what_to_do(finished_folder, recsys, damage):
    assert recsys("promote", "workspace", "1")[0] == 0
    registry = WORKSPACE / "bundles" / "registry.json"
    damage(registry)
    for command in (
        ["recommend", "workspace", "--user", "u 1"],
        ["models", "workspace"],
        ["promote", "workspace", "1"],
    ):
        code, _, err = recsys(*command)
        assert code == 1
        assert err.startswith(f"Error: {registry}: ")
        assert err.endswith("; restore it, or remove it and promote again\n")
    registry.unlink()
    assert recsys("promote", "workspace", "1")[0] == 0


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_a_damaged_record_of_who_runs_costs_a_name(finished_folder, recsys, record):
    with Store(WORKSPACE).lock():
        (WORKSPACE / ".lock-holder.json").write_text(record)
        code, _, err = recsys(*RUN, "--no-wait")
    said = "Error: workspace: in use by another run; wait for it to end, or stop it\n"
    assert (code, err) == (1, said)


# Two runs at once


def test_the_second_of_two_runs_waits_and_finds_everything_made(shop_folder, undisturbed, recsys):
    with start(shop_folder) as first:
        wait_for_lines(first, 2)
        first.send_signal(signal.SIGSTOP)
        try:
            code, _, err = recsys(*RUN, "--no-wait")
            assert code == 1
            assert err.startswith(f"Error: workspace: in use by process {first.pid} on ")
            assert err.endswith("; wait for it to end, or stop it\n")
            with start(shop_folder) as second:
                waiting = second.stderr.readline()
                first.send_signal(signal.SIGCONT)
                said = second.stderr.read()
        finally:
            first.send_signal(signal.SIGCONT)
        first.stderr.read()
    assert (first.returncode, second.returncode) == (0, 0)
    assert f"workspace: in use by process {first.pid} on " in waiting
    assert waiting.endswith("; waiting for it to end\n")
    assert [line.split()[-1] for line in said.splitlines()] == ["cached"] * STAGES
    assert_complete(shop_folder, undisturbed)


# A workspace that cannot be written


def test_a_read_only_workspace_is_said_and_still_read(finished_folder, undisturbed):
    commands = [RUN, STATUS, ["recommend", "workspace", "--user", "u 3"], ["promote", "workspace", "1"]]
    script = f"from recsys.cli import run_command; print([run_command(c) for c in {commands!r}])"
    (finished_folder / "script.py").write_text(f"{script}\n")
    out, err = in_own_mounts(
        f"""
        mount --bind workspace workspace && mount -o remount,bind,ro workspace && cd .
        {sys.executable} script.py
        """,
        finished_folder,
    )
    assert out.endswith("[1, 0, 0, 1]\n")
    ending = "check its owner and mode, or set `workspace` to another folder"
    assert f"Error: workspace: cannot be written (Read-only file system: {finished_folder}/workspace/.lock)" in err
    assert ending in err
    assert "Error: workspace/bundles: cannot be written (Read-only file system); check its owner and mode" in err
    assert "Traceback" not in err
    assert_complete(finished_folder, undisturbed)


def test_a_file_in_place_of_the_workspace(shop_folder, recsys):
    WORKSPACE.write_text("mine")
    code, _, err = recsys(*RUN)
    assert code == 1
    assert err.startswith("Error: workspace: cannot be written (Not a directory: workspace/artifacts); check its owner")
    assert WORKSPACE.read_text() == "mine"


def test_a_link_to_a_disk_that_is_not_there(shop_folder, recsys):
    WORKSPACE.symlink_to("/nowhere/at all")
    code, _, err = recsys(*RUN)
    assert code == 1
    assert err.startswith("Error: workspace: cannot be made (")
    assert err.endswith("; check that what it points to is there, or set `workspace` to another folder\n")


# The clock

AHEAD = """\
import datetime
import sys
import time

import pipelines.store
from recsys.cli import run_command

ahead = 400 * 86_400
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + ahead
time.time_ns = lambda: real_ns() + ahead * 10**9


class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=ahead)


pipelines.store.datetime = Ahead
sys.exit(run_command(sys.argv[1:]))
"""


def test_a_clock_that_was_set_back(shop_folder, undisturbed, recsys):
    """A run a year ahead, then runs of today."""
    (shop_folder / "ahead.py").write_text(AHEAD)
    subprocess.run([sys.executable, "ahead.py", *RUN], check=True, capture_output=True)
    future = time.time() + 400 * 86_400
    for path in WORKSPACE.rglob("*"):
        os.utime(path, (future, future))
    made = Store(WORKSPACE).latest()["candidates"].created
    assert made > time.strftime("%Y-%m-%d", time.gmtime(time.time() + 300 * 86_400))
    assert_complete(shop_folder, undisturbed)

    # What was made last is what is compared with, though the clock says that it was made before.
    assert recsys(*RUN, "--set", "fusion.per_route=14", "--until", "candidates")[0] == 0
    newest = Store(WORKSPACE).newest("candidates")
    assert newest.identity["config"]["fusion"]["per_route"] == 14
    assert newest.created > made
    told = json.loads(recsys(*STATUS, "--set", "fusion.per_route=13")[1])["stages"]
    why = {found["stage"]: found["why"] for found in told}["candidates"]
    assert why == "config changed: fusion.per_route 14 → 13"


def test_files_of_the_future_are_read_again(finished_folder, recsys):
    """Their times say nothing: written again under the same clock, they may have the same one."""
    events = Path("data/events.csv")
    future = time.time() + 86_400
    os.utime(events, (future, future))
    assert recsys(*RUN)[0] == 0
    lines = events.read_text(encoding="utf-8").splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    events.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.utime(events, (future, future))
    code, _, err = recsys(*RUN, "--until", "ingest")
    assert (code, err.startswith("✓ ingest")) == (0, True)
