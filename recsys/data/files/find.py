"""Which files a table has, and in which format each is."""

import glob
import zipfile
from pathlib import Path, PurePath
from typing import Literal

from recsys.data.config import TableConfig
from recsys.errors import DataError

__all__ = ["LABELS", "Format", "extension_format", "find_files", "format_of", "zip_member"]

Format = Literal["csv", "tsv", "jsonl", "parquet", "excel"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".xlsx": "excel",
    ".xls": "excel",
    ".ods": "excel",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PACKED = (".gz", ".zip")
LABELS: dict[Format, str] = {
    "csv": "CSV",
    "tsv": "TSV",
    "jsonl": "JSON lines",
    "parquet": "Parquet",
    "excel": "a spreadsheet",
}
"""What messages call a format."""


def find_files(config: TableConfig, table: str) -> list[Path]:
    """The files of a table in sorted order: the file itself, all below a folder, or all that a pattern matches.

    Below folders and patterns, files and folders whose names start with `.` or `_` (such as `_SUCCESS`) and files that
    are not tables by their extension are passed over.

    Raises:
        DataError: There is no such file.
    """
    root = Path(config.path)
    if root.is_file():
        return [root]
    if root.is_dir():
        below = sorted(path for path in root.rglob("*") if _is_part(path, root, config))
        if not below:
            raise DataError(f"{root}: table {table}: found a folder without data files, expected {_expected(config)}")
        return below
    matches = sorted(Path(match) for match in glob.glob(config.path, recursive=True))
    files = [path for path in matches if _is_part(path, Path(), config)]
    if not files:
        raise DataError(
            f"{config.path}: table {table}: found no such file, expected a file, a folder of files or a pattern "
            f"(paths are relative to {Path.cwd()})"
        )
    return files


def format_of(path: Path, config: TableConfig) -> Format:
    """The format of a file: that of the settings, or by the extension.

    Raises:
        DataError: The extension is unknown, and the settings name neither a format nor a delimiter.
    """
    if config.format != "auto":
        return config.format
    kind = extension_format(path)
    if kind is None and config.delimiter is None:
        raise DataError(
            f"{path}: found the extension {path.suffix!r}, expected {_expected(config)}; "
            "or set format: csv, tsv, jsonl, parquet or excel"
        )
    return kind or "csv"


def extension_format(path: Path) -> Format | None:
    """The format that the extension of a file says, or of the one file in an archive; `None` if it is unknown.

    Raises:
        DataError: The archive holds no file, or several.
    """
    kind = _by_extension(path)
    if kind is None and path.suffix.lower() == ".zip":
        return _by_extension(PurePath(zip_member(path)))
    return kind


def zip_member(path: Path) -> str:
    """The name of the one file in a zip archive.

    Raises:
        DataError: It holds none, or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: found a file that cannot be read ({error}), expected a zip archive") from error
    tables = [name for name in names if not name.startswith("__MACOSX/")]
    if len(tables) != 1:
        listed = ", ".join(tables[:10]) or "nothing"
        raise DataError(
            f"{path}: found {len(tables)} files in the archive ({listed}), expected one table; "
            "unpack it and name the file, or a folder of files with the same columns"
        )
    return tables[0]


def _is_part(path: Path, root: Path, config: TableConfig) -> bool:
    parts = path.relative_to(root).parts if root != Path() else path.parts[-1:]
    hidden = any(part.startswith((".", "_")) for part in parts)
    known = config.format != "auto" or config.delimiter is not None or _by_extension(path) is not None
    return path.is_file() and not hidden and known


def _by_extension(path: PurePath) -> Format | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def _expected(config: TableConfig) -> str:
    return f"{config.format} files" if config.format != "auto" else " or ".join([", ".join(list(_FORMATS)[:-1]), ".pq"])
