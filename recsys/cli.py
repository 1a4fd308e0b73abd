"""The command `recsys`: the only reader of argv. Imports what a command needs when it runs, and not before.

Exit codes: 0 it worked, 1 the run failed, 2 the input is wrong, 130 interrupted.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsys.errors import InputError, RecsysError

if TYPE_CHECKING:
    from recsys.config import Config

__all__ = ["app", "main", "run_command"]

_DEBUG = "--debug"
_INTERRUPTED = 130

app = typer.Typer(
    name="recsys",
    help="From an interaction log to served top-K: `recsys run CONFIG`, then `recsys serve CONFIG`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
data_app = typer.Typer(help="Public data sets and simulated worlds.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The pipeline's YAML file.")]
BundlePath = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        help="A bundle, a folder of bundles, a workspace, or a configuration whose workspace is meant.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replaces a value of the configuration; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Fail if another run holds the workspace.")]
Version = Annotated[
    int | None, typer.Option("--version", help="Which version of the bundle; else the champion, else the latest.")
]
History = Annotated[
    str | None,
    typer.Option(metavar="IDS", help="Item ids, oldest first, commas between; replaces the stored history."),
]
Role = Annotated[Literal["champion", "challenger"], typer.Option(help="The pointer to move.")]


def main() -> None:
    """Runs the command line of this process."""
    # Threads that wait must sleep, not spin: on a busy machine spinning doubles the time of a training. Read by OpenMP
    # when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Runs a command and returns its exit code; errors are printed to standard error.

    Args:
        arguments: what follows `recsys`; `--debug` anywhere shows tracebacks.
    """
    rest = list(arguments)
    end = rest.index("--") if "--" in rest else len(rest)
    debug = _DEBUG in rest[:end]
    rest = [argument for argument in rest[:end] if argument != _DEBUG] + rest[end:]
    try:
        code = app(rest, prog_name="recsys", standalone_mode=False)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        if debug:
            traceback.print_exception(error)
        return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: BaseException) -> int:
    """Prints what went wrong, and gives the exit code."""
    if isinstance(error, RecsysError):
        typer.echo(f"Error: {error}", err=True)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return _INTERRUPTED
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if callable(show) and isinstance(code, int):
        # A usage error. Its class is click's or, in newer versions, typer's own: neither has a public name for both.
        show()
        return code
    typer.echo(
        f"Error: unexpected {type(error).__name__}: {error}\nRun again with --debug for the traceback.", err=True
    )
    return 1


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"recsys {version('recsys')}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show tracebacks.")] = False,
) -> None:
    """From an interaction log to served top-K: `recsys run CONFIG`, then `recsys serve CONFIG`."""


@data_app.command("download", epilog="Example: recsys data download movielens-100k")
def data_download(
    name: Annotated[str, typer.Argument(help="Name of the data set, such as movielens-100k.")],
    folder: Annotated[Path | None, typer.Option(help="Where to put it; by default data/NAME.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetches a public data set, checks it, and writes it as CSV."""
    from recsys.data.public import download
    from recsys.terminal import DownloadDisplay

    with DownloadDisplay() as display:
        paths = download(name, folder or Path("data") / name, progress=display)
    _print_json([str(path) for path in paths]) if as_json else typer.echo("\n".join(map(str, paths)))


@data_app.command(
    "lists", epilog="Example: recsys data lists data/gowalla recall=train.txt rank=valid.txt test=test.txt"
)
def data_lists(
    folder: Annotated[Path, typer.Argument(help="Where to write the tables.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE | WINDOW=FILE…", help="Lines of a user and items.")],
    attributes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON: from item to a list of attributes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Makes tables of a published data set that comes as lists, a line a user, one file or one for each window."""
    from recsys.data.lists import convert_lists

    named = {window: Path(path) for path, _, window in (file.rpartition("=")[::-1] for file in files)}
    paths = convert_lists(named, folder, attributes=attributes)
    _print_json([str(path) for path in paths]) if as_json else typer.echo("\n".join(map(str, paths)))


@data_app.command("synth", epilog="Example: recsys data synth --events 1000000 --folder data/synth --set drift=0")
def data_synth(
    events: Annotated[int, typer.Option(help="Rows: one for each item shown.")] = 1_000_000,
    users: Annotated[int | None, typer.Option(help="By default one for every 100 events.")] = None,
    items: Annotated[int | None, typer.Option(help="By default one for every 250 events.")] = None,
    days: Annotated[int, typer.Option(help="Days of the log, a file each; the last is the test.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes on the same machine.")] = 42,
    folder: Annotated[Path, typer.Option(help="Where to write it.")] = Path("data/synth"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A strength, as in docs/simulated-world.md; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a simulated world that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Simulates users, items and clicks whose true preferences are known, and a configuration that runs on them."""
    from recsys.data.synthetic.create import simulate
    from recsys.data.synthetic.world import World
    from recsys.terminal import DownloadDisplay

    strengths = World.parse(settings or [])
    world = World.of(events, **{"users": users, "items": items, "days": days, "seed": seed, **strengths})
    with DownloadDisplay() as display:
        made = simulate(world, folder, force=force, progress=display)
    if as_json:
        _print_json(made.summary())
        return
    typer.echo(f"written: {made.folder}: {world.events:,} events of {world.users:,} users, {made.clicks:,} clicks")
    typer.echo(f"next:    recsys run {made.config}")


@app.command("init", epilog="Example: recsys init --interactions events.csv --items items.csv --out shop.yaml")
def init_config(
    interactions: Annotated[
        str, typer.Option(metavar="FILE", help="The events: CSV, TSV, JSON lines, Parquet or Excel, or a folder.")
    ],
    users: Annotated[str | None, typer.Option(metavar="FILE", help="One row a user.")] = None,
    items: Annotated[str | None, typer.Option(metavar="FILE", help="One row an item.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The YAML file to write.")] = Path("recsys.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of the pipeline; by default that of the file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    user_id: Annotated[str | None, typer.Option(metavar="COLUMN", help="The user, instead of a guess.")] = None,
    item_id: Annotated[str | None, typer.Option(metavar="COLUMN", help="The item, instead of a guess.")] = None,
    timestamp: Annotated[str | None, typer.Option(metavar="COLUMN", help="The time, instead of a guess.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Names of the columns of events without a header: user_id,item_id,rating."),
    ] = None,
    user_columns: Annotated[str | None, typer.Option(metavar="NAMES", help="The same for the users.")] = None,
    item_columns: Annotated[str | None, typer.Option(metavar="NAMES", help="The same for the items.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="A click log without users and items: score its rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Looks at your files, guesses what the columns are, and writes a commented YAML that runs."""
    from recsys.init.create import create
    from recsys.terminal import print_table

    told = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp}
    given = {part: column for part, column in told.items() if column is not None}
    named = {"interactions": columns, "users": user_columns, "items": item_columns}
    made = create(
        interactions,
        users=users,
        items=items,
        out=out,
        name=name,
        force=force,
        given=given,
        headers={key: [name.strip() for name in names.split(",")] for key, names in named.items() if names is not None},
        rows=rows,
    )
    if as_json:
        _print_json(made.summary())
        return
    shown = ["table", "column", "role", "kind", "distinct", "why"]
    print_table(shown, [[row[key] for key in shown] for row in made.rows()], right=["distinct"])
    typer.echo("\n" + "\n".join(f"{what}: {why}" for what, why in made.reasons().items()))
    typer.echo(f"\nwritten: {made.path}\nnext:    {made.run}")


@app.command(epilog="Example: recsys run configs/movielens-100k.yaml --set ranking.model.dropout=0.3 --until recall")
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Stop after this stage, or family of stages.")
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Run this stage even if it is up to date; may be repeated."),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="A first look: only this share of the users, such as 1%, in a workspace of its own."
        ),
    ] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Runs the pipeline; what is up to date is skipped."""
    settings = _config(config, overrides)
    if sample is not None:
        # Not the workspace itself: the bundle of a sample must never be the newest one there.
        workspace = f"{settings.workspace.rstrip('/')}-sample"
        settings = _config(config, [*(overrides or ()), f"data.sample={_share(sample)}", f"workspace={workspace}"])
        _say(f"a sample of {sample}, in {workspace}")
    from pipelines.run import run_pipeline
    from recsys.bundle.store import versions
    from recsys.data.public import ensure
    from recsys.terminal import DownloadDisplay, RunDisplay

    with DownloadDisplay() as progress:
        ensure(settings.data, progress=progress)
    display = RunDisplay()
    try:
        run_pipeline(settings, until=until, force=tuple(force or ()), observer=display, wait=not no_wait)
    except KeyboardInterrupt:
        typer.echo("Interrupted. Finished stages are kept; the same command goes on from there.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    bundles = Path(settings.workspace) / "bundles"
    newest = versions(bundles)[-1:]
    bundle = str(bundles / str(newest[0])) if newest else None
    if as_json:
        _print_json({"stages": display.stages, "bundle": bundle})
    elif bundle and until is None:
        typer.echo(f"bundle: {bundle}")


@app.command(epilog="Example: recsys status configs/movielens-100k.yaml")
def status(
    config: ConfigFile,
    overrides: Overrides = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file, not just compare sizes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Which stages are fresh, stale or missing, and why; what the disk holds."""
    settings = _config(config, overrides)
    from pipelines.garbage import holdings
    from pipelines.graph import plan
    from pipelines.stages import stages_for
    from recsys.terminal import print_holdings, print_statuses

    workspace = Path(settings.workspace)
    statuses = plan(stages_for(settings), workspace, verify=verify)
    held = holdings(statuses, workspace)
    if as_json:
        told = [{"stage": s.stage, "state": s.state, "why": s.why} for s in statuses]
        _print_json({"stages": told, "disk": {part.what: part.size for part in held}})
    else:
        print_statuses(statuses)
        print_holdings(workspace, held)


@app.command(epilog="Example: recsys gc configs/movielens-100k.yaml --dry-run")
def gc(
    config: ConfigFile,
    overrides: Overrides = None,
    keep_bundles: Annotated[
        int | None,
        typer.Option(min=1, help="Also remove bundles but the newest so many, and those promoted; by default none."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Removes artifacts that neither the last run nor the next one needs."""
    settings = _config(config, overrides)
    from pipelines.garbage import collect, find_leftovers
    from pipelines.stages import stages_for
    from recsys.terminal import print_leftovers

    stages, workspace = stages_for(settings), Path(settings.workspace)
    if dry_run:
        leftovers = find_leftovers(stages, workspace, keep_bundles=keep_bundles)
    else:
        leftovers = collect(stages, workspace, keep_bundles=keep_bundles, wait=not no_wait)
    if as_json:
        _print_json([{"what": left.what, "folder": str(left.folder), "bytes": left.size} for left in leftovers])
    else:
        print_leftovers(leftovers, removed=not dry_run)


@app.command(epilog="Example: recsys report configs/movielens-100k.yaml --json")
def report(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """What the last complete run found."""
    settings = _config(config, overrides)
    from pipelines.graph import departures
    from pipelines.stages import stages_for
    from pipelines.store import Store
    from recsys.terminal import print_file, print_metrics

    artifacts = Store(Path(settings.workspace)).latest()
    if not artifacts:
        raise InputError(f"{settings.workspace}: no complete run yet; start one: recsys run {config}")
    changes = departures(stages_for(settings), artifacts)
    if changes:
        typer.echo(f"The last complete run had other settings: {'; '.join(changes)}", err=True)
    metrics = {name: dict(artifact.metrics) for name, artifact in artifacts.items() if artifact.metrics}
    pages = [artifact.folder / name for artifact in artifacts.values() for name in sorted(artifact.files)]
    texts = [page for page in pages if page.name == "report.txt"]
    if as_json:
        _print_json(metrics)
        return
    for text in texts:
        print_file(text)
    if not texts:
        print_metrics(metrics)
    for page in pages:
        if page.name == "report.html":
            typer.echo(f"report: {page}")


@app.command("config", epilog="Example: recsys config configs/movielens-100k.yaml --set seed=7")
def show_config(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Checks a configuration and prints the whole of it, defaults included."""
    from recsys.settings import dump_settings

    settings = _config(config, overrides)
    _print_json(settings.model_dump(mode="json")) if as_json else typer.echo(dump_settings(settings), nl=False)


@app.command(epilog="Example: recsys recommend configs/movielens-100k.yaml --user 196 -k 10 --explain")
def recommend(
    bundle: BundlePath,
    user: Annotated[
        str | None, typer.Option(help="User id; a user the bundle does not know is answered as new.")
    ] = None,
    history: History = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which routes found each item, at which rank.")
    ] = False,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """The best items for one user."""
    folder = _bundle(bundle, version)
    _limit_threads()
    from recsys.funnel.requests import Request
    from recsys.funnel.runtime import Funnel
    from recsys.terminal import print_recommendations

    request = Request(user_id=user, history=None if history is None else _ids(history))
    response = Funnel.load(folder).recommend([request], k, explain=explain)[0]
    if as_json:
        items = [
            {"rank": i.rank, "item_id": i.item_id, "title": i.title, "score": i.score}
            | ({} if i.probability is None else {"probability": i.probability})
            | ({"routes": dict(i.routes)} if explain else {})
            for i in response.items
        ]
        answer = {"user_id": user, "known_user": response.known_user, "unknown_items": list(response.unknown_items)}
        _print_json({**answer, "bundle": str(folder), "items": items})
        return
    _say_if_new(user, known=response.known_user)
    if response.unknown_items:
        _say(f"items not in this bundle: {', '.join(response.unknown_items)}")
    if not response.items:
        _say("no item is left: all that could be recommended is in the history (policy.exclude_seen)")
    print_recommendations(response, explain=explain)


@app.command(epilog="Example: recsys explain configs/movielens-100k.yaml --user 196 --item 50")
def explain(
    bundle: BundlePath,
    item: Annotated[str, typer.Option(help="Id of the item to explain.")],
    user: Annotated[str | None, typer.Option(help="The user's id; without it, a new user.")] = None,
    history: History = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the list the item should be in.")] = 10,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Why an item is recommended to a user, or which stage lost it."""
    folder = _bundle(bundle, version)
    _limit_threads()
    from recsys.funnel.requests import Request
    from recsys.funnel.runtime import Funnel
    from recsys.terminal import print_explanation

    request = Request(user_id=user, history=None if history is None else _ids(history))
    explanation = Funnel.load(folder).explain(request, item, k)
    if as_json:
        _print_json({"user_id": user, "item_id": item, "k": k, "bundle": str(folder), **asdict(explanation)})
        return
    _say_if_new(user, known=explanation.known_user)
    print_explanation(explanation, item=item, k=k)


@app.command("score-rows", epilog="Example: recsys score-rows clicks.yaml --rows test.csv --out scores.parquet")
def score_rows(
    bundle: BundlePath,
    rows: Annotated[str, typer.Option(metavar="FILE", help="Rows of the log: a file, a folder of files or a pattern.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The Parquet file to write.")],
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Scores rows by their own columns, such as those of a click log, into a Parquet file."""
    folder = _bundle(bundle, version)
    _limit_threads()
    from recsys.funnel.runtime import Funnel
    from recsys.serving.row_files import score_files

    found = score_files(Funnel.load(folder), rows, out)
    if found.missing:
        _say(f"columns that no file has, or not every one, count as missing: {', '.join(found.missing)}")
    if found.unfit:
        _say(f"{found.rows - found.scored:,} of {found.rows:,} rows have no score; the first: {found.unfit}")
    if as_json:
        _print_json({"out": str(out), "bundle": str(folder), **asdict(found)})
    else:
        typer.echo(f"written: {out}: {found.scored:,} rows scored by {folder}")


@app.command(epilog="Example: recsys serve configs/movielens-100k.yaml --port 8501")
def serve(
    bundle: BundlePath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reachable from this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    version: Version = None,
) -> None:
    """Answers POST /v1/recommend and POST /v1/predict until told to stop."""
    folder = _bundle(bundle, version)
    from recsys.serving.server import serve as serve_bundle

    typer.echo(f"serving {folder} on http://{host}:{port}  (Ctrl-C stops)", err=True)
    with suppress(KeyboardInterrupt):
        serve_bundle(folder, host, port)


@app.command(epilog="Example: recsys ui configs/movielens-100k.yaml")
def ui(
    config: ConfigFile,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """The MLflow UI on the configuration's runs."""
    settings = _config(config, None)
    _need("mlflow", "ui")
    from recsys.tracking.mlflow import ui_address, ui_command

    typer.echo(f"MLflow UI on {ui_address(host, port)}  (Ctrl-C stops)", err=True)
    command = ui_command(Path(settings.workspace), uri=settings.tracking.uri, host=host, port=port)
    with suppress(KeyboardInterrupt):
        raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command(epilog="Example: recsys models configs/movielens-100k.yaml")
def models(bundle: BundlePath, as_json: AsJson = False) -> None:
    """The versions there are, and which is champion and challenger."""
    bundles = _shelf(bundle)
    from recsys.bundle.store import versions
    from recsys.release.registry import read_registry
    from recsys.terminal import print_table

    registry = read_registry(bundles)
    roles = {registry.champion: "champion", registry.challenger: "challenger"}
    found = [
        {"version": number, "role": roles.get(number), "path": str(bundles / str(number))}
        for number in versions(bundles)
    ]
    if as_json:
        _print_json({"models": found, "history": [step.model_dump(mode="json") for step in registry.history]})
    elif not found:
        typer.echo(f"{bundles}: no bundle here; `recsys run` builds one", err=True)
    else:
        print_table(["version", "role", "path"], [[m["version"], m["role"] or "", m["path"]] for m in found])


@app.command(epilog="Example: recsys promote configs/movielens-100k.yaml 3")
def promote(
    bundle: BundlePath,
    version: Annotated[int, typer.Argument(help="The version to point at.")],
    role: Role = "champion",
) -> None:
    """Points champion or challenger at a version, once its files are checked."""
    bundles = _shelf(bundle)
    from recsys.release.registry import promote as promote_version

    promote_version(bundles, version, role=role)
    typer.echo(f"{role}: version {version}")


@app.command(epilog="Example: recsys rollback configs/movielens-100k.yaml")
def rollback(bundle: BundlePath, role: Role = "champion") -> None:
    """Points champion or challenger back at the version before."""
    bundles = _shelf(bundle)
    from recsys.release.registry import rollback as roll_back

    registry = roll_back(bundles, role=role)
    typer.echo(f"{role}: version {getattr(registry, role)}")


@app.command(epilog="Example: recsys doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """What this machine has, and what is wrong with it."""
    from recsys.doctor import examine, find_problems
    from recsys.terminal import print_table

    found = examine()
    faults, remarks = find_problems(found)
    if as_json:
        _print_json({**found.as_dict(), "problems": faults, "remarks": remarks})
    else:
        facts = {name: value for name, value in found.as_dict().items() if name != "versions"}
        rows = [(name.replace("_", " "), "unknown" if value is None else value) for name, value in facts.items()]
        print_table(["what", "found"], rows + [(name, version or "—") for name, version in found.versions.items()])
        for line in (*(f"wrong: {fault}" for fault in faults), *(f"note: {remark}" for remark in remarks)):
            typer.echo(line)
    raise typer.Exit(1 if faults else 0)


def _config(path: Path, overrides: Sequence[str] | None) -> "Config":
    from recsys.config import Config
    from recsys.settings import load_settings

    return load_settings(Config, path, overrides=tuple(overrides or ()))


def _bundles(path: Path) -> Path:
    """The folder of bundles that a command's argument means, or the bundle itself."""
    if path.suffix in {".yaml", ".yml"}:
        return Path(_config(path, None).workspace) / "bundles"
    if not path.is_dir():
        raise InputError(
            f"{path}: no such folder; expected a bundle, a folder of bundles, a workspace or a configuration"
        )
    return path / "bundles" if (path / "bundles").is_dir() else path


def _shelf(path: Path) -> Path:
    """The folder of bundles, also where a bundle in it is named."""
    from recsys.bundle.format import MANIFEST

    bundles = _bundles(path)
    return bundles.resolve().parent if (bundles / MANIFEST).exists() else bundles


def _bundle(path: Path, version: int | None) -> Path:
    from recsys.release.registry import serving_bundle

    return serving_bundle(_bundles(path), version)


def _share(text: str) -> float:
    """`1%` or `0.01`."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(f"--sample {text}: expected a share of the users, such as 1% or 0.01")
    return share


def _say_if_new(user: str | None, *, known: bool) -> None:
    if user is not None and not known:
        _say(f"user {user}: not in this bundle; answered as a new user")


def _say(text: str) -> None:
    """A remark on standard error."""
    from recsys.terminal import printable

    typer.echo(printable(text), err=True)


def _limit_threads() -> None:
    from recsys.serving.server import limit_threads

    limit_threads()


def _need(package: str, command: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise InputError(f"recsys {command}: {package} is not installed; pip install 'recsys[train]'")


def _ids(text: str) -> list[str]:
    """Ids with commas between; an id that holds a comma is quoted, as in CSV."""
    import csv

    return [item for row in csv.reader([text]) for item in row if item]


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))
