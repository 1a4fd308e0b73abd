"""The command line: help, exit codes, one clear message, JSON, and nothing imported that is not needed."""

import json
import re
import signal
import subprocess
import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipelines.graph import execute
from pipelines.stage import Stage
from recsys.bundle.format import MANIFEST
from recsys.cli import app, run_command
from recsys.errors import DataError, TrainingError
from recsys.release.registry import REGISTRY, Registry

COMMANDS = [
    "config",
    "data download",
    "data lists",
    "data synth",
    "doctor",
    "explain",
    "gc",
    "init",
    "models",
    "promote",
    "recommend",
    "report",
    "rollback",
    "run",
    "score-rows",
    "serve",
    "status",
    "ui",
]
CONFIG = {
    "name": "shop",
    "workspace": "workspace/shop",
    "data": {"interactions": {"path": "log.csv"}},
    "split": {"kind": "per_user"},
    "routes": {"popular": {"kind": "popular"}},
}


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def recsys(capsys):
    def call(*arguments):
        code = run_command(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return "shop.yaml"


@pytest.fixture
def pipeline(monkeypatch):
    """Two quick stages in the place of the real ones, and what the command passed on."""
    seen = {}

    def ingest(context):
        (context.folder / "rows.txt").write_text("u1,i1\nu1,i2\nu2,i1\n")
        return {"rows": 3.0}

    def evaluate(context):
        if seen.get("error"):
            raise seen["error"]
        return {"test.ndcg@10": 0.25}

    def stages_for(settings):
        seed = settings.seed
        return [Stage("ingest", ingest), Stage("evaluate", evaluate, config={"seed": seed}, inputs=("ingest",))]

    def run_pipeline(settings, *, until=None, force=(), observer, wait=True):
        seen.update(until=until, force=force, wait=wait, seed=settings.seed)
        return execute(
            stages_for(settings), Path(settings.workspace), until=until, force=force, observer=observer, wait=wait
        )

    module = types.ModuleType("pipelines.run")
    module.stages_for, module.run_pipeline = stages_for, run_pipeline
    monkeypatch.setitem(sys.modules, "pipelines.run", module)
    return seen


def test_the_commands_are_these(recsys):
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    groups = [
        f"{group.name} {c.name}" for group in app.registered_groups for c in group.typer_instance.registered_commands
    ]
    assert sorted([*names, *groups]) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(recsys, command):
    result = recsys(*command.split(), "--help")
    assert result.code == 0
    assert re.search(rf"Example: recsys {command}\b", result.out)


def test_version(recsys):
    result = recsys("--version")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r"recsys \d+\.\d+\.\d+\n", result.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument 'CONFIG'"),
        (["rnu"], "No such command 'rnu'"),
        (["run", "x.yaml", "--untl", "a"], "No such option: --untl"),
        (["recommend", "x", "-k", "0"], "Invalid value for '-k'"),
        (["promote", "x", "three"], "Invalid value for 'version'"),
    ],
)
def test_wrong_usage_exits_with_2(recsys, arguments, message):
    result = recsys(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_wrong_input_exits_with_2_and_one_message(recsys, config):
    result = recsys("run", config, "--set", "sed=7")
    assert (result.code, result.out) == (2, "")
    assert result.err == "Error: --set sed: unknown key; did you mean seed?\n"
    assert recsys("status", "gone.yaml").err == "Error: gone.yaml: no such file; expected a YAML configuration\n"
    gone = recsys("recommend", "gone", "--user", "1")
    assert (gone.code, gone.err) == (
        2,
        "Error: gone: no such folder; expected a bundle, a folder of bundles, a workspace or a configuration\n",
    )


def test_run_shows_each_stage_and_a_second_run_finds_them_cached(recsys, config, pipeline):
    first = recsys("run", config)
    assert (first.code, first.out) == (0, "")
    assert re.fullmatch(r"✓ ingest    +0\.\d\d s +[\d,]+ MB\n✓ evaluate  +0\.\d\d s +[\d,]+ MB\n", first.err)
    second = recsys("run", config)
    assert second.err == "· ingest    cached\n· evaluate  cached\n"


def test_run_passes_its_options_on(recsys, config, pipeline):
    assert recsys("run", config, "--until", "ingest", "--force", "ingest", "--no-wait", "--set", "seed=7").code == 0
    assert pipeline == {"until": "ingest", "force": ("ingest",), "wait": False, "seed": 7}


def test_run_tells_scripts_what_happened(recsys, config, pipeline):
    told = json.loads(recsys("run", config, "--json").out)
    assert [(stage["stage"], stage["state"], stage["metrics"]) for stage in told["stages"]] == [
        ("ingest", "ran", {"rows": 3.0}),
        ("evaluate", "ran", {"test.ndcg@10": 0.25}),
    ]
    assert told["bundle"] is None
    (Path("workspace/shop/bundles/12")).mkdir(parents=True)
    told = json.loads(recsys("run", config, "--json").out)
    assert told["bundle"] == "workspace/shop/bundles/12"
    assert recsys("run", config).out == "bundle: workspace/shop/bundles/12\n"


@pytest.mark.parametrize("share", ["5%", "0.05"])
def test_a_sample_runs_in_a_workspace_of_its_own(recsys, config, pipeline, share):
    result = recsys("run", config, "--sample", share)
    assert result.err.startswith(f"a sample of {share}, in workspace/shop-sample\n")
    assert Path("workspace/shop-sample/latest.json").exists()
    assert not Path("workspace/shop").exists()


@pytest.mark.parametrize("share", ["0", "101%", "some", "-1%", "nan"])
def test_a_share_that_is_none_is_refused(recsys, config, share):
    result = recsys("run", config, "--sample", share)
    message = f"Error: --sample {share}: expected a share of the users, such as 1% or 0.01\n"
    assert (result.code, result.err) == (2, message)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TrainingError("epoch 3: the loss is NaN"), 1, "Error: epoch 3: the loss is NaN\n"),
        (DataError("log.csv: empty"), 2, "Error: log.csv: empty\n"),
        (KeyError("x"), 1, "Error: unexpected KeyError: 'x'\nRun again with --debug for the traceback.\n"),
        (
            KeyboardInterrupt(),
            130,
            "Interrupted. Finished stages are kept; the same command goes on from there.\n",
        ),
    ],
)
def test_a_failing_stage_is_one_message_and_an_exit_code(recsys, config, pipeline, error, code, message):
    pipeline["error"] = error
    result = recsys("run", config)
    assert result.code == code
    assert result.err.endswith(message)
    assert "Traceback" not in result.err
    assert "✗ evaluate" in result.err
    if not isinstance(error, KeyboardInterrupt):
        assert "Traceback" in recsys("run", config, "--debug").err


def test_status_says_why(recsys, config, pipeline):
    assert "never ran" in recsys("status", config).out
    recsys("run", config)
    told = json.loads(recsys("status", config, "--json", "--set", "seed=7").out)
    assert told["disk"]["stages in use"] > 0
    assert told["stages"] == [
        {"stage": "ingest", "state": "fresh", "why": ""},
        {"stage": "evaluate", "state": "stale", "why": "config changed: seed 42 → 7"},
    ]
    lines = recsys("status", config, "--set", "seed=7", "--verify").out.splitlines()
    assert lines[1].startswith("ingest    ✓ fresh")
    assert lines[2].startswith("evaluate  ~ stale")
    assert lines[2].rstrip().endswith("config changed: seed 42 → 7")


def test_report_prints_the_last_complete_run(recsys, config, pipeline, monkeypatch):
    none = recsys("report", config)
    assert (none.code, none.err) == (
        2,
        "Error: workspace/shop: no complete run yet; start one: recsys run shop.yaml\n",
    )
    recsys("run", config)
    assert json.loads(recsys("report", config, "--json").out) == {
        "ingest": {"rows": 3.0},
        "evaluate": {"test.ndcg@10": 0.25},
    }
    told = recsys("report", config)
    assert re.search(r"evaluate  test\.ndcg@10  0\.2500", told.out)
    assert not told.err
    others = recsys("report", config, "--set", "seed=7").err
    assert others == "The last complete run had other settings: config changed: seed 42 → 7\n"


def test_report_prints_the_report_a_stage_wrote(recsys, config, pipeline):
    def write(context):
        (context.folder / "report.txt").write_text("NDCG@10 .25 [by route]\n")
        (context.folder / "report.html").write_text("<p>")

    artifact = execute([Stage("report", write)], Path("workspace/shop"))["report"]
    relative = artifact.folder
    assert recsys("report", config).out == f"NDCG@10 .25 [by route]\nreport: {relative / 'report.html'}\n"


def test_config_prints_all_of_it(recsys, config):
    text = recsys("config", config, "--set", "seed=7").out
    told = yaml.safe_load(text)
    assert (told["seed"], told["fusion"]["k"]) == (7, 60.0)
    assert json.loads(recsys("config", config, "--json").out)["name"] == "shop"


def test_models_lists_versions_and_roles(recsys, config):
    bundles = Path("workspace/shop/bundles")
    assert "no bundle here; `recsys run` builds one" in recsys("models", config).err
    for version in ("1", "2", "10"):
        (bundles / version).mkdir(parents=True)
        (bundles / version / MANIFEST).write_text("{}")
    (bundles / REGISTRY).write_text(Registry(champion=2, challenger=10).model_dump_json())
    expected = [
        {"version": 1, "role": None, "path": f"{bundles}/1"},
        {"version": 2, "role": "champion", "path": f"{bundles}/2"},
        {"version": 10, "role": "challenger", "path": f"{bundles}/10"},
    ]
    for place in (config, "workspace/shop", str(bundles)):
        assert json.loads(recsys("models", place, "--json").out) == {"models": expected, "history": []}
    assert "champion" in recsys("models", str(bundles / "1")).out
    gone = recsys("promote", config, "7")
    assert (gone.code, gone.err) == (1, f"Error: {bundles}: no version 7; found [1, 2, 10]\n")
    nothing = recsys("rollback", config)
    assert (nothing.code, nothing.err) == (
        2,
        "Error: champion: no earlier version to go back to; `recsys models` lists what was promoted\n",
    )


def test_recommend_prints_a_table_and_json(recsys, tiny_bundle):
    table = recsys("recommend", str(tiny_bundle), "--user", "u1", "-k", "3", "--explain").out.splitlines()
    assert table[0].split() == ["rank", "item", "title", "score", "found", "by"]
    assert [line.split()[0] for line in table[1:]] == ["1", "2", "3"]
    told = json.loads(recsys("recommend", str(tiny_bundle.parent), "--user", "u1", "-k", "3", "--json").out)
    assert [item["item_id"] for item in told["items"]] == [line.split()[1] for line in table[1:]]
    assert told["known_user"]
    stranger = recsys("recommend", str(tiny_bundle), "--user", "[x]", "--history", "i1,nowhere")
    assert stranger.code == 0
    assert stranger.err == "user [x]: not in this bundle; answered as a new user\nitems not in this bundle: nowhere\n"


def test_explain_tells_people_and_scripts(recsys, tiny_bundle):
    best = json.loads(recsys("recommend", str(tiny_bundle), "--user", "u1", "-k", "3", "--json").out)["items"]
    told = recsys("explain", str(tiny_bundle), "--user", "u1", "--item", best[2]["item_id"], "-k", "3").out.splitlines()
    assert told[0].startswith(f"{best[2]['item_id']} ({best[2]['title']}): in the top 3; found by ")
    assert [line.split("  ")[0] for line in told[2:6]] == ["route popular", "route cf", "fusion", "ranking"]
    short = recsys("explain", str(tiny_bundle), "--user", "u1", "--item", best[2]["item_id"], "-k", "2").out
    assert "not in the top 2, lost at ranking; 2 candidates rank higher, and the list ends at 2" in short
    unknown = recsys("explain", str(tiny_bundle), "--user", "[x]", "--item", "gone")
    assert unknown.out == "gone: not in the top 10, lost at catalogue; no such item in this bundle\n"
    assert unknown.err == "user [x]: not in this bundle; answered as a new user\n"
    answer = json.loads(recsys("explain", str(tiny_bundle), "--item", "i1", "--history", "i1", "--json").out)
    assert (answer["lost_at"], answer["routes"]["cf"]["weight"], answer["history_length"]) == ("filter", 1.0, 1)


def test_promote_and_rollback_move_the_champion(recsys, tiny_parts, tiny_info, tmp_path):
    from recsys.release.build import build_bundle

    for _ in range(2):
        build_bundle(tiny_parts, tiny_info, tmp_path)
    assert recsys("promote", str(tmp_path), "2").out == "champion: version 2\n"
    assert recsys("promote", str(tmp_path), "1").out == "champion: version 1\n"
    assert recsys("rollback", str(tmp_path)).out == "champion: version 2\n"
    told = json.loads(recsys("models", str(tmp_path), "--json").out)
    assert [model["role"] for model in told["models"]] == [None, "champion"]


def test_gc_says_what_goes_and_removes_it(recsys, config, pipeline):
    recsys("run", config)
    recsys("run", config, "--set", "seed=7")
    would = recsys("gc", config, "--set", "seed=7", "--dry-run").out.splitlines()
    assert would[-1].startswith("would remove 1 folder, ")
    told = json.loads(recsys("gc", config, "--set", "seed=7", "--json").out)
    assert [left["what"] for left in told] == ["evaluate"]
    assert not Path(told[0]["folder"]).exists()
    assert recsys("gc", config, "--set", "seed=7").out == "removed 0 folders, 0.0 MB\n"


def test_doctor_tells_people_and_scripts(recsys):
    result = recsys("doctor")
    assert result.code == 0
    assert "cores" in result.out
    told = json.loads(recsys("doctor", "--json").out)
    assert told["problems"] == []
    assert told["versions"]["numpy"]


def test_data_download_refuses_unknown_names(recsys, tmp_path):
    result = recsys("data", "download", "movielens-100kk", "--folder", str(tmp_path))
    assert result.code == 2
    assert "did you mean movielens-100k?" in result.err


WITHOUT_TRAINING = """
    import sys
    for name in ("torch", "pytorch_lightning", "mlflow", "onnx"):
        sys.modules[name] = None
    from recsys.cli import run_command
    sys.exit(run_command(sys.argv[1:]))
"""


def without_training(*arguments):
    command = [sys.executable, "-c", textwrap.dedent(WITHOUT_TRAINING), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [["doctor"], ["serve", "--help"], ["config", "shop.yaml"], ["models", "."]])
def test_what_serves_needs_no_torch(config, arguments):
    result = without_training(*arguments)
    assert (result.returncode, result.stderr.replace(".: no bundle here; `recsys run` builds one\n", "")) == (0, "")


@pytest.mark.parametrize("command", [["recommend"], ["explain", "--item", "i1"]])
def test_answering_needs_no_torch(tiny_bundle, command):
    result = without_training(command[0], str(tiny_bundle), "--user", "u1", *command[1:], "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["user_id"] == "u1"


def test_ui_says_what_to_install(config):
    result = without_training("ui", config)
    assert (result.returncode, result.stderr) == (
        2,
        "Error: recsys ui: mlflow is not installed; pip install 'recsys[train]'\n",
    )


INTERRUPTED = """
    import sys, time, types
    from pathlib import Path
    from pipelines.graph import execute
    from pipelines.stage import Stage
    from recsys.cli import main

    def slow(context):
        (context.folder / "half.txt").write_text("half")
        context.say("running")
        time.sleep(30)

    def run_pipeline(settings, *, until, force, observer, wait):
        execute([Stage("slow", slow)], Path(settings.workspace), observer=observer)

    sys.modules["pipelines.run"] = types.ModuleType("pipelines.run")
    sys.modules["pipelines.run"].run_pipeline = run_pipeline
    main()
"""


def test_ctrl_c_is_safe_and_exits_with_130(config):
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), "run", config]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "  slow: running\n"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130
    assert rest.splitlines()[-1] == "Interrupted. Finished stages are kept; the same command goes on from there."
    assert "✗ slow  interrupted" in rest
    assert list(Path("workspace/shop/artifacts/slow").iterdir()) == []
