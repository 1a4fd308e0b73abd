"""What a bundle folder holds and how it is checked; knows no model.

    manifest.json      format version, sha256 and size of every file, hashes, policy, fusion, routes, golden requests
    provenance.json    run, times, host, library versions: outside the content hash
    features/ catalogue/ routes/<name>/ ranker/ state/

Both JSON files carry the sha256 of their own canonical text, so a damaged manifest is noticed before it is believed.
The hashes guard against damage, not against someone who can rewrite the whole folder.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from recsys.errors import BundleError
from recsys.settings import Settings

__all__ = [
    "CATALOGUE",
    "FEATURES",
    "FORMAT_VERSION",
    "MANIFEST",
    "MAX_JSON_BYTES",
    "PROVENANCE",
    "RANKER",
    "ROUTES",
    "STATE",
    "FileEntry",
    "FusionSpec",
    "GoldenRequest",
    "Manifest",
    "PartSpec",
    "Policy",
    "Provenance",
    "open_bundle",
    "read_provenance",
    "write_manifest",
    "write_provenance",
]

FORMAT_VERSION = 1
MAX_JSON_BYTES = 8 * 2**20
MANIFEST = "manifest.json"
PROVENANCE = "provenance.json"
FEATURES = "features"
CATALOGUE = "catalogue"
ROUTES = "routes"
RANKER = "ranker"
STATE = "state"

M = TypeVar("M", bound=Settings)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_COMPONENT = re.compile(r"^(?!\.{1,2}$)[^/\\:\x00-\x1f]{1,255}$")


class FileEntry(Settings):
    """A file as it was written."""

    sha256: Sha256
    size: NonNegativeInt


class PartSpec(Settings):
    """A route or a ranker: its name and the kind of retriever or scorer that serves it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
    kind: Annotated[str, Field(max_length=64)]


class Policy(Settings):
    """Which items of the user's own history are withheld."""

    exclude_seen: Literal["never", "always", "recent"] = "always"
    recent: PositiveInt = 50
    """With `recent`: how many of the last items count as seen."""


class FusionSpec(Settings):
    """How the lists of the routes become one, with the weights settled; see `recsys.retrieval.fusion`."""

    kind: Literal["rrf", "weighted_sum", "quota"] = "rrf"
    k: PositiveFloat = 60.0
    """With `rrf`: how little the first ranks differ."""
    scale: Literal["range", "deviation"] = "range"
    """With `weighted_sum`: what a route's scores are divided by."""
    weights: dict[str, Annotated[float, Field(ge=0)]]
    per_route: PositiveInt
    candidates: PositiveInt


class GoldenRequest(Settings):
    """A request and the answer the bundle gave when it was built."""

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    k: PositiveInt
    items: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


class Manifest(Settings):
    """The content of a bundle."""

    format_version: int = FORMAT_VERSION
    name: str
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """By path inside the bundle, `/` between folders; every file but the two JSON files at the top."""
    config_hash: str
    features_hash: str
    data_hash: str
    protocol: str
    """What *as of* meant when the bundle's parts were fitted, in one line."""
    policy: Policy
    fusion: FusionSpec
    routes: tuple[PartSpec, ...]
    ranker: PartSpec | None
    """`null`: the fused list is the answer."""
    golden: tuple[GoldenRequest, ...] = ()
    golden_rows: tuple[tuple[float, ...], ...] = ()
    """Logits of the golden rows, one a task, that a bundle without routes gave when it was built."""

    @property
    def content_hash(self) -> str:
        """The sha256 over everything the bundle holds, provenance apart."""
        return _sha256(_canonical(self.model_dump(mode="json")))


class Provenance(Settings):
    """Where a bundle comes from; two bundles of the same content may differ in it."""

    run_id: str | None = None
    created_at: str
    host: str
    git_revision: str | None = None
    libraries: dict[str, str] = Field(default_factory=dict)


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Records size and hash of every file of `folder`, writes `manifest.json` and returns it.

    Raises:
        BundleError: a symbolic link or a special file lies in the folder.
    """
    entries = {name: FileEntry(sha256=_hash_file(path), size=path.stat().st_size) for name, path in _walk(folder)}
    full = manifest.model_copy(update={"files": entries})
    _write_sealed(folder / MANIFEST, full.model_dump(mode="json"))
    return full


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Writes `provenance.json`."""
    _write_sealed(folder / PROVENANCE, provenance.model_dump(mode="json"))


def read_provenance(bundle: Path) -> Provenance:
    """Where the bundle comes from. Raises `BundleError` when the file is missing or damaged."""
    return _parse(bundle / PROVENANCE, Provenance)


def open_bundle(bundle: Path, *, verify: bool = True) -> Manifest:
    """The manifest, once every file is what the manifest says. Nothing else is parsed before that.

    Args:
        bundle: the bundle's folder.
        verify: also hash every file's content; without it only names and sizes are compared.

    Raises:
        BundleError: names the file that is missing, extra, changed, a link, or outside the bundle.
    """
    if not bundle.is_dir():
        raise BundleError(f"{bundle}: no bundle here; expected a folder with a {MANIFEST}")
    manifest = _read_manifest(bundle)
    read_provenance(bundle)
    found = dict(_walk(bundle))
    _check_names(bundle, manifest.files, found)
    for name, entry in manifest.files.items():
        _check_file(found[name], entry, verify=verify)
    return manifest


def _read_manifest(bundle: Path) -> Manifest:
    path = bundle / MANIFEST
    payload = _unseal(path)
    version = payload.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format version {version!r}, but this recsys reads version {FORMAT_VERSION}; "
            "build the bundle again, or install the recsys that built it"
        )
    manifest = _validate(path, payload, Manifest)
    for name in manifest.files:
        _check_path(path, name)
    return manifest


def _check_path(manifest: Path, name: str) -> None:
    inside = all(_COMPONENT.match(part) for part in name.split("/"))
    if not inside or name in (MANIFEST, PROVENANCE):
        raise BundleError(f"{manifest}: files: {name!r} is not the name of a file inside the bundle; build it again")


def _check_names(bundle: Path, listed: Mapping[str, FileEntry], found: Mapping[str, Path]) -> None:
    for name in sorted(listed.keys() - found.keys()):
        raise BundleError(f"{bundle / name}: missing, but listed in {MANIFEST}; copy the bundle again")
    for name in sorted(found.keys() - listed.keys()):
        raise BundleError(f"{bundle / name}: not listed in {MANIFEST}; remove it, or copy the bundle again")


def _check_file(path: Path, entry: FileEntry, *, verify: bool) -> None:
    size = path.stat().st_size
    if size != entry.size:
        raise BundleError(f"{path}: {size} bytes, but {MANIFEST} says {entry.size}; copy the bundle again")
    if verify and (digest := _hash_file(path)) != entry.sha256:
        raise BundleError(f"{path}: sha256 {digest}, but {MANIFEST} says {entry.sha256}; copy the bundle again")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file but the two JSON files at the top, as (name inside the bundle, path), sorted by folder."""
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in (MANIFEST, PROVENANCE):
            yield name, path


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from _files(Path(entry.path))
        elif stat.S_ISREG(mode):
            yield Path(entry.path)
        else:
            raise BundleError(f"{entry.path}: a link or a special file; a bundle holds plain files and folders only")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _write_sealed(path: Path, payload: dict[str, Any]) -> None:
    data = _sealed(payload)
    if len(data) > MAX_JSON_BYTES:
        raise BundleError(f"{path}: {len(data)} bytes, over the limit of {MAX_JSON_BYTES}; keep fewer golden requests")
    path.write_bytes(data)


def _unseal(path: Path) -> dict[str, Any]:
    """The JSON object of a sealed file, without its seal."""
    data = _read_limited(path)
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error}); copy the bundle again") from None
    if not isinstance(payload, dict):
        raise BundleError(f"{path}: expected a JSON object, found {type(payload).__name__}; copy the bundle again")
    payload.pop("sha256", None)
    # Byte for byte, the seal included: a changed space or a repeated key would otherwise go unnoticed.
    if not _matches(data, payload):
        raise BundleError(f"{path}: does not match its own sha256; copy the bundle again")
    return payload


def _matches(data: bytes, payload: dict[str, Any]) -> bool:
    try:
        return data == _sealed(payload)
    except ValueError:  # NaN, infinity or a lone surrogate: never written by us
        return False


def _sealed(payload: dict[str, Any]) -> bytes:
    return _canonical({**payload, "sha256": _sha256(_canonical(payload))})


def _read_limited(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: missing or not a plain file; copy the bundle again")
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise BundleError(f"{path}: {size} bytes, over the limit of {MAX_JSON_BYTES}; this is no {path.name} of ours")
    return path.read_bytes()


def _validate(path: Path, payload: dict[str, Any], model: type[M]) -> M:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {where}: {first['msg']}; build the bundle again") from None


def _parse(path: Path, model: type[M]) -> M:
    return _validate(path, _unseal(path), model)
