import hashlib
import json
import os
from pathlib import Path

import pytest

from recsys.bundle.format import (
    MANIFEST,
    MAX_JSON_BYTES,
    PROVENANCE,
    FusionSpec,
    GoldenRequest,
    Manifest,
    PartSpec,
    Policy,
    Provenance,
    open_bundle,
    read_provenance,
    write_manifest,
    write_provenance,
)
from recsys.errors import BundleError

FILES = {"features/spec.json": b"{}", "catalogue/items.parquet": b"PAR1", "routes/a/0.npy": b"", "état/σ.npy": b"12"}


def manifest() -> Manifest:
    return Manifest(
        name="tiny",
        config_hash="c",
        features_hash="f",
        data_hash="d",
        protocol="per user",
        policy=Policy(),
        fusion=FusionSpec(k=60.0, weights={"a": 1.0}, per_route=10, candidates=10),
        routes=(PartSpec(name="a", kind="static"),),
        ranker=None,
        golden=(GoldenRequest(user_id="é", k=2, items=("x", "y"), scores=(0.1, 1e-17)),),
    )


def provenance(**changes) -> Provenance:
    return Provenance(**{"run_id": "r", "created_at": "2026-01-01T00:00:00+00:00", "host": "h", **changes})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_provenance(folder, provenance())
    write_manifest(folder, manifest())
    return folder


def reseal(path: Path, **changes: object) -> None:
    """Rewrites a manifest with a seal that fits: what someone else's tool, or an older recsys, would have written."""
    payload = {**json.loads(path.read_bytes()), **changes}
    del payload["sha256"]

    def canonical(value):
        return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    path.write_bytes(canonical({**payload, "sha256": hashlib.sha256(canonical(payload)).hexdigest()}))


def test_reads_what_was_written(bundle):
    opened = open_bundle(bundle)
    assert opened.files.keys() == FILES.keys()
    for name, data in FILES.items():
        assert opened.files[name].sha256 == hashlib.sha256(data).hexdigest()
        assert opened.files[name].size == len(data)
    assert opened.model_copy(update={"files": {}}) == manifest()
    assert read_provenance(bundle) == provenance()


def test_provenance_is_outside_the_content_hash_and_files_are_inside(bundle):
    before = open_bundle(bundle).content_hash
    write_provenance(bundle, provenance(run_id="another", host="elsewhere"))
    assert open_bundle(bundle).content_hash == before
    (bundle / "routes/a/0.npy").write_bytes(b"1")
    assert write_manifest(bundle, manifest()).content_hash != before


@pytest.mark.parametrize("name", [*(n for n, data in FILES.items() if data), MANIFEST, PROVENANCE])
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_one_changed_byte_names_the_file(bundle, name, where):
    path = bundle / name
    data = bytearray(path.read_bytes())
    data[where if isinstance(where, int) else int(len(data) * where)] ^= 0x01
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [n for n, data in FILES.items() if data])
def test_a_truncated_file_is_named_even_without_hashing(bundle, name):
    path = bundle / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"1 bytes|3 bytes") as caught:
        open_bundle(bundle, verify=False)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [*FILES, MANIFEST, PROVENANCE])
def test_a_deleted_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match="missing") as caught:
        open_bundle(bundle)
    assert str(bundle / name) in str(caught.value)


def test_an_extra_file_is_named(bundle):
    (bundle / "routes/a/extra.npy").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.npy: not listed in manifest\.json"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["features/spec.json", MANIFEST, "link"])
def test_a_symbolic_link_is_refused(bundle, tmp_path, name):
    path = bundle / name
    if path.exists():
        path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=f"{path.name}: (a link|missing or not a plain file)"):
        open_bundle(bundle)


def test_a_special_file_is_refused(bundle):
    os.mkfifo(bundle / "pipe")
    with pytest.raises(BundleError, match="pipe: a link or a special file"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "a/../../b", "a//b", "./a", "a\\b", "", MANIFEST, "c:x"]
)
def test_a_name_outside_the_bundle_is_refused_before_it_is_opened(bundle, name):
    files = json.loads((bundle / MANIFEST).read_bytes())["files"]
    reseal(bundle / MANIFEST, files={**files, name: {"sha256": "0" * 64, "size": 0}})
    with pytest.raises(BundleError, match="is not the name of a file inside the bundle"):
        open_bundle(bundle)


def test_the_format_version_before_is_read(bundle):
    reseal(bundle / MANIFEST, format_version=1)
    assert open_bundle(bundle).format_version == 1


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_format_version_is_refused(bundle, version):
    reseal(bundle / MANIFEST, format_version=version)
    with pytest.raises(
        BundleError, match=r"manifest\.json: format version .* reads versions 1 and 2; build the bundle again"
    ):
        open_bundle(bundle)


def test_an_unknown_key_or_wrong_type_is_refused(bundle):
    reseal(bundle / MANIFEST, surprise=1)
    with pytest.raises(BundleError, match=r"manifest\.json: surprise: "):
        open_bundle(bundle)
    reseal(bundle / MANIFEST, name=3)
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}']
)
def test_a_manifest_that_is_no_sealed_object_is_refused(bundle, data):
    (bundle / MANIFEST).write_bytes(data)
    with pytest.raises(BundleError, match=r"manifest\.json: (not JSON|expected a JSON object|does not match its own)"):
        open_bundle(bundle)


def test_a_huge_manifest_is_refused_unread(bundle):
    with (bundle / MANIFEST).open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(BundleError, match=f"{MAX_JSON_BYTES + 1} bytes, over the limit of {MAX_JSON_BYTES}"):
        open_bundle(bundle)


def test_a_manifest_that_could_not_be_read_back_is_not_written(tmp_path):
    golden = tuple(GoldenRequest(user_id="u" * 2**20, k=1) for _ in range(9))
    with pytest.raises(BundleError, match="over the limit of 8388608; keep fewer golden requests"):
        write_manifest(tmp_path, manifest().model_copy(update={"golden": golden}))
    assert not (tmp_path / MANIFEST).exists()


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere: no bundle here; expected a folder with a manifest\.json"):
        open_bundle(tmp_path / "nowhere")
