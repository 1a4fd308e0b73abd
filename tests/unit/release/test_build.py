import dataclasses

import numpy as np
import pytest

from recsys.bundle.format import open_bundle, read_provenance
from recsys.bundle.store import versions
from recsys.errors import ParityError
from recsys.funnel.runtime import Funnel
from recsys.release.build import build_bundle, golden_requests


def test_the_manifest_says_what_went_in(tiny_bundle, tiny_parts):
    manifest = open_bundle(tiny_bundle)
    assert manifest.name == "tiny"
    assert manifest.policy == tiny_parts.generator.policy
    assert manifest.fusion == tiny_parts.generator.fusion
    assert [(route.name, route.kind) for route in manifest.routes] == [("popular", "static"), ("cf", "neighbours")]
    assert manifest.ranker is not None
    assert manifest.ranker.kind == "onnx"


def test_golden_requests_hold_the_answers_of_the_written_bundle(tiny_bundle):
    manifest, funnel = open_bundle(tiny_bundle), Funnel.load(tiny_bundle)
    assert len(manifest.golden) == 8 + 2
    assert {golden.user_id for golden in manifest.golden} >= {"u0", "u23", None}
    for golden in manifest.golden:
        assert len(golden.items) == len(golden.scores) == golden.k
        assert funnel.golden_answer(golden) == golden


def test_golden_requests_of_a_catalogue_without_users(tiny_parts):
    empty = tiny_parts.users.__class__([])
    users = {name: values[:0] for name, values in tiny_parts.user_features.items()}
    histories = dataclasses.replace(
        tiny_parts.histories, offsets=np.zeros(1, dtype=np.int64), items=tiny_parts.histories.items[:0]
    )
    parts = dataclasses.replace(tiny_parts, users=empty, user_features=users, histories=histories)
    assert [golden.user_id for golden in golden_requests(parts)] == [None, None]


def test_the_same_parts_give_the_same_content(tiny_bundle, tiny_parts, tiny_info, tmp_path):
    again = build_bundle(tiny_parts, dataclasses.replace(tiny_info, run_id="another"), tmp_path)
    assert open_bundle(again).content_hash == open_bundle(tiny_bundle).content_hash
    assert read_provenance(again).run_id == "another"
    assert "numpy" in read_provenance(again).libraries


def test_a_bundle_says_nothing_of_the_machine_but_in_its_provenance(tiny_bundle, tmp_path_factory):
    base = str(tmp_path_factory.getbasetemp()).encode()
    assert not [path for path in tiny_bundle.rglob("*") if path.is_file() and base in path.read_bytes()]


def test_a_build_that_fails_leaves_nothing(tiny_parts, tiny_info, tmp_path):
    class Broken:
        kind = "onnx"

        def save(self, folder):
            raise ParityError("cannot be written")

    ranker = dataclasses.replace(tiny_parts.ranker, scorer=Broken())
    with pytest.raises(ParityError, match="cannot be written"):
        build_bundle(dataclasses.replace(tiny_parts, ranker=ranker), tiny_info, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert versions(tmp_path) == []
