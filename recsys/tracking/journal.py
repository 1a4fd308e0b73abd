"""What runs told their tracker, kept on disk until the tracker has it.

A journal is a folder with one JSON object a line in `entries.jsonl`, and copies of files that may be gone by the time
they are sent. Lines are only ever appended, so that a process killed at any moment leaves a journal whose last line
alone may be cut. Whoever writes or sends a journal holds its lock, which ends with the process.
"""

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

__all__ = ["Journal", "leftover_journals"]

_ENTRIES = "entries.jsonl"
_FILES = "files"


@dataclass(slots=True)
class Journal:
    """One process's entries, in order.

    Attributes:
        folder: where they are.
        lock: held while the journal is open.
        entries: what the tracker was told.
        answers: what it answered, by position of the entry, for entries that must not be sent twice.
    """

    folder: Path
    lock: FileLock
    entries: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, spool: Path) -> Self:
        """An empty journal; its name sorts after those of earlier ones."""
        folder = spool / f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return cls(folder, _locked(folder))

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """What a process left behind, up to a line that was cut; `None` while a process has it open."""
        try:
            journal = cls(folder, _locked(folder))
        except Timeout:
            return None
        lines: list[bytes] = []
        with suppress(FileNotFoundError):
            lines = (folder / _ENTRIES).read_bytes().splitlines()
        for line in lines:
            try:
                entry = json.loads(line)
                if "answer" in entry:
                    journal.answers[int(entry["of"])] = str(entry["answer"])
                else:
                    journal.entries.append(entry)
            except (ValueError, KeyError, TypeError):
                break
        return journal

    @property
    def name(self) -> str:
        """Tells this journal from all others."""
        return self.folder.name

    def append(self, entry: Mapping[str, Any]) -> int:
        """Writes an entry down and returns its position."""
        self.entries.append(dict(entry))
        self._write(self.entries[-1])
        return len(self.entries) - 1

    def answer(self, position: int, answer: str) -> None:
        """Remembers what the tracker answered to an entry."""
        self.answers[position] = answer
        self._write({"of": position, "answer": answer})

    def keep(self, position: int) -> None:
        """Copies the file or folder that an entry names in `path`, if it is still there."""
        source = Path(self.entries[position]["path"])
        target = self._kept(position)
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)

    def file(self, position: int) -> Path:
        """The file or folder an entry names: the copy if there is one."""
        kept = self._kept(position)
        return kept if kept.exists() else Path(self.entries[position]["path"])

    def close(self) -> None:
        """Leaves it to whoever sends it later."""
        self.lock.release()

    def remove(self) -> None:
        """Everything in it has arrived."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()
        with suppress(OSError):  # other journals are still there
            self.folder.parent.rmdir()

    def _kept(self, position: int) -> Path:
        return self.folder / _FILES / str(position) / Path(self.entries[position]["path"]).name

    def _write(self, entry: Mapping[str, Any]) -> None:
        with (self.folder / _ENTRIES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / ".lock")
    lock.acquire(timeout=0)
    return lock


def leftover_journals(spool: Path) -> list[Path]:
    """Folders of journals, the oldest first."""
    return sorted(path for path in spool.iterdir() if path.is_dir()) if spool.is_dir() else []
