"""From fitted parts to a published bundle."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recsys.bundle.format import GoldenRequest, Manifest, PartSpec, Provenance, write_manifest, write_provenance
from recsys.bundle.libraries import installed_libraries
from recsys.bundle.store import publish, stage
from recsys.funnel.parts import FunnelParts, save_parts
from recsys.funnel.runtime import Funnel

__all__ = ["BundleInfo", "build_bundle", "golden_requests"]


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What a bundle says about itself.

    Attributes:
        name: of the pipeline.
        config_hash: of the configuration it was built from.
        features_hash: of the fitted feature encoder.
        data_hash: of the canonical tables.
        protocol: what *as of* means, in one line.
        run_id: of the tracked run; provenance only.
        git_revision: of the configuration's repository; provenance only.
    """

    name: str
    config_hash: str
    features_hash: str
    data_hash: str
    protocol: str
    run_id: str | None = None
    git_revision: str | None = None


def build_bundle(
    parts: FunnelParts, info: BundleInfo, bundles: Path, *, golden: Sequence[GoldenRequest] | None = None
) -> Path:
    """Writes the parts, has the written bundle answer its golden requests, and publishes it as the next version.

    The answers come from the runtime loaded from the staged files, so a part that cannot be read back is found here
    and not in service. A failure leaves nothing behind.

    Args:
        parts: everything the runtime answers from.
        info: what the bundle says about itself.
        bundles: folder of versions.
        golden: requests to replay at every load; `None` chooses some with `golden_requests`.

    Returns:
        The folder of the published version.

    Raises:
        BundleError: the staged bundle cannot be read back.
        WorkspaceError: the folder of bundles cannot be written.
    """
    requests = (golden_requests(parts) if golden is None else golden) if not parts.rows_only else ()
    with stage(bundles) as folder:
        save_parts(parts, folder)
        write_provenance(folder, _provenance(info))
        manifest = write_manifest(folder, _manifest(parts, info))
        funnel = Funnel.load(folder)
        answered = tuple(funnel.golden_answer(request) for request in requests)
        rows = funnel.golden_logits()
        del funnel
        write_manifest(folder, manifest.model_copy(update={"golden": answered, "golden_rows": rows}))
        Funnel.load(folder)
        return publish(folder)


def golden_requests(parts: FunnelParts, *, count: int = 8, k: int = 10) -> tuple[GoldenRequest, ...]:
    """Known users spread over the catalogue, one of them with a history of its own, and a cold start."""
    codes = np.unique(np.linspace(0, len(parts.users) - 1, num=min(count, len(parts.users))).astype(np.int32))
    ids: list[str] = parts.users.decode(codes).to_pylist()
    items = tuple(parts.items.decode(np.arange(min(3, len(parts.items)), dtype=np.int32)).to_pylist())
    known = [GoldenRequest(user_id=user, k=k) for user in ids]
    return (*known, GoldenRequest(history=items, k=k), GoldenRequest(k=k))


def _manifest(parts: FunnelParts, info: BundleInfo) -> Manifest:
    generator, ranker = parts.generator, parts.ranker
    return Manifest(
        name=info.name,
        config_hash=info.config_hash,
        features_hash=info.features_hash,
        data_hash=info.data_hash,
        protocol=info.protocol,
        policy=generator.policy,
        fusion=generator.fusion,
        routes=tuple(PartSpec(name=name, kind=r.kind) for name, r in generator.retrievers.items()),
        ranker=None if ranker is None else PartSpec(name="ranker", kind=ranker.scorer.kind),
    )


def _provenance(info: BundleInfo) -> Provenance:
    return Provenance(
        run_id=info.run_id,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=platform.node(),
        git_revision=info.git_revision,
        libraries=installed_libraries(),
    )
