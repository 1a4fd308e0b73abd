"""A finished bundle becomes the next version of a folder of bundles, once."""

import shutil
from pathlib import Path

from recsys.bundle.format import open_bundle, read_provenance, write_provenance
from recsys.bundle.store import publish, stage, versions

__all__ = ["publish_bundle"]


def publish_bundle(source: Path, bundles: Path, *, run_id: str | None = None, git_revision: str | None = None) -> Path:
    """Copies a bundle into the next version, unless the newest version holds the same content already.

    Args:
        source: a bundle's folder.
        bundles: folder of versions.
        run_id: of the tracked run; written into the copy's provenance.
        git_revision: of the configuration's repository; likewise.

    Returns:
        The folder of the version that holds this content.

    Raises:
        BundleError: the source is damaged.
        WorkspaceError: the folder of bundles cannot be written.
    """
    content = open_bundle(source).content_hash
    newest = versions(bundles)[-1:]
    if newest and open_bundle(bundles / str(newest[0])).content_hash == content:
        return bundles / str(newest[0])
    provenance = read_provenance(source).model_copy(update={"run_id": run_id, "git_revision": git_revision})
    with stage(bundles) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        write_provenance(folder, provenance)
        return publish(folder)
