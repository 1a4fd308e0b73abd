"""Folders of scorers."""

import json
import re

import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import SCORERS, load_scorer, save_scorer


def test_kinds_are_those_of_the_classes():
    assert {kind: scorer.kind for kind, scorer in SCORERS.items()} == {kind: kind for kind in SCORERS}


def test_saves_into_a_new_folder_and_loads_the_kind_it_saved(small_graph, tmp_path):
    folder = tmp_path / "new" / "scorer"
    save_scorer(OnnxScorer(small_graph), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "scorer.json"]
    assert json.loads((folder / "scorer.json").read_text()) == {"kind": "onnx"}
    inputs = {"user.age": np.ones(1, dtype=np.float32), "item.year": np.ones((1, 2), dtype=np.float32)}
    assert load_scorer(folder).score(inputs).tolist() == [[[3.0], [3.0]]]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_an_unreadable_note_of_the_kind_says_what_to_do(tmp_path, text):
    if text is not None:
        (tmp_path / "scorer.json").write_text(text)
    expected = rf"^{re.escape(str(tmp_path / 'scorer.json'))}: cannot be read \(.+\); train the ranker again$"
    with pytest.raises(ArtifactError, match=expected):
        load_scorer(tmp_path)


def test_an_unknown_kind_is_named_with_those_there_are(tmp_path):
    (tmp_path / "scorer.json").write_text('{"kind": "oracle"}')
    with pytest.raises(ArtifactError, match=r"scorer\.json: kind 'oracle', expected one of onnx$"):
        load_scorer(tmp_path)
