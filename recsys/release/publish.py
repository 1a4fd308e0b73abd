"""A finished bundle becomes the next version of a folder of bundles, once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from recsys.bundle.format import open_bundle, read_provenance, write_provenance
from recsys.bundle.store import clean_staging, publish, stage, versions
from recsys.errors import BundleError, WorkspaceError

__all__ = ["publish_bundle"]


def publish_bundle(
    source: Path,
    bundles: Path,
    *,
    run_id: str | None = None,
    git_revision: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Copies a bundle into the next version, unless the newest version holds the same content already.

    A newest version that is damaged is left as it is, and a sound copy becomes the next. One at a time publishes into
    a folder of bundles; what one that was killed left there is removed.

    Args:
        source: a bundle's folder.
        bundles: folder of versions.
        run_id: of the tracked run; written into the copy's provenance.
        git_revision: of the configuration's repository; likewise.
        say: told when the newest version is damaged.

    Returns:
        The folder of the version that holds this content.

    Raises:
        BundleError: the source is damaged.
        WorkspaceError: the folder of bundles cannot be written.
    """
    content = open_bundle(source).content_hash
    with _alone(bundles):
        newest = versions(bundles)[-1:]
        if newest and _content(bundles / str(newest[0]), say) == content:
            return bundles / str(newest[0])
        provenance = read_provenance(source).model_copy(update={"run_id": run_id, "git_revision": git_revision})
        with stage(bundles) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            write_provenance(folder, provenance)
            return publish(folder)


@contextmanager
def _alone(bundles: Path) -> Iterator[None]:
    lock = FileLock(bundles / ".publish.lock")
    try:
        bundles.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise WorkspaceError(f"{bundles}: cannot be written ({error.strerror}); check its owner and mode") from error
    try:
        clean_staging(bundles)
        yield
    finally:
        lock.release()


def _content(bundle: Path, say: Callable[[str], None] | None) -> str | None:
    try:
        return open_bundle(bundle).content_hash
    except BundleError as error:
        if say is not None:
            say(f"{error}; the next version is a sound copy")
        return None
