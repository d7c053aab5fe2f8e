"""Things in front of faces, drawn on crops with the truth which points they hide: to train and to evaluate what hides points.

`kinds` draws them, `outlines` and `textures` are what they are made of, `face_frame` is where on a face they lie.
"""

from __future__ import annotations

from vtrack.data.occluders.cover import MADE_KINDS, TAUGHT_KINDS, UNTAUGHT_KINDS, cover, random_kinds

__all__ = ["MADE_KINDS", "TAUGHT_KINDS", "UNTAUGHT_KINDS", "cover", "random_kinds"]
