"""COCO keypoints: one JSON file with a category, an image for each frame and an annotation for each face."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from vtrack._version import __version__
from vtrack.layouts import layout_names, load_layout
from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.drawing.curves import part_splines
from vtrack.pipelines.outputs.tables.columns import PIXEL_DIGITS, SHARE_DIGITS
from vtrack.types import Face, FrameResult, Query

_CATEGORY = 1
HIDDEN, VISIBLE = 1, 2
"""Flags of points with a place; 0 is that of a point without one."""


class CocoKeypoints(FileSink):
    """COCO keypoints, written as a stream.

    The id of an image is the number of its frame, `time_s` its time; the `track_id` of an annotation is the id of its face.
    A point is visible (2) where its face was seen, the point lies inside the frame and is likely not hidden by something, else
    hidden (1); a point without a place is 0, 0, 0.

    Args:
        path: File to write.
        query: The points of the faces.
        size: Width and height of the frames; None if they are unknown.
        facts: Facts about the table, as its `.meta.json` has them.
    """

    _stream: TextIO
    _images: TextIO

    def __init__(
        self,
        path: str | Path,
        query: Query,
        *,
        size: tuple[int, int] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path)
        self._query, self._facts = query, facts or {}
        self._size = {} if size is None else {"width": size[0], "height": size[1]}
        self._reach = np.array(size or (np.inf, np.inf)) - 0.5
        number = f"%.{PIXEL_DIGITS}f"
        self._keypoints = ", ".join([f"{number}, {number}, %d"] * len(query))
        self._annotations = 0
        self._separator = ""

    def _open(self) -> None:
        self._stream = self.file.open_text()
        # COCO lists the images apart from the annotations: they wait in a file of their own.
        self._images = tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=self.file.path.parent)  # noqa: SIM115
        source = self._facts.get("source", {})
        info: dict[str, Any] = {
            "description": f"face landmarks of {source.get('name', 'a table')}",
            "version": __version__,
        }
        info |= {"facts": self._facts} if self._facts else {}
        head = json.dumps({"info": info, "licenses": [], "categories": [category(self._query)]})
        self._stream.write(f'{head[:-1]}, "annotations": [')

    def _write(self, result: FrameResult) -> None:
        name = result.frame.file or f"{result.index:06}.jpg"
        image = {"id": result.index, "file_name": name, **self._size, "time_s": result.time}
        self._images.write(f"{self._separator}\n{json.dumps(image)}")
        self._separator = ","
        for face in result.faces:
            self._stream.write(f"{',' * (self._annotations > 0)}\n{self._annotation(face, result.index)}")

    def _finish(self, interrupted: bool) -> None:
        self._stream.write('\n], "images": [')
        self._images.seek(0)
        shutil.copyfileobj(self._images, self._stream)
        self._stream.write("\n]}\n")
        self._stream.flush()

    def _close(self) -> None:
        self._images.close()
        self._stream.close()

    def _annotation(self, face: Face, image: int) -> str:
        """The JSON object of a face."""
        self._annotations += 1  # evaluators take id 0 for none
        there = np.isfinite(face.points).min(1)
        inside = ((face.points >= -0.5) & (face.points < self._reach)).min(1)
        behind = False if face.hidden is None else face.hidden > 0.5
        flags = np.where(inside & face.measured & ~np.asarray(behind), VISIBLE, HIDDEN) * there
        keypoints = np.column_stack([np.where(there[:, None], face.points, 0.0), flags])
        box = [round(float(side), PIXEL_DIGITS) for side in np.nan_to_num(face.box)]
        score = {} if np.isnan(face.presence) else {"score": round(face.presence, SHARE_DIGITS)}
        head = {"id": self._annotations, "image_id": image, "category_id": _CATEGORY, "track_id": face.id, **score}
        body = {
            "bbox": box,
            "area": round(box[2] * box[3], PIXEL_DIGITS),
            "iscrowd": 0,
            "num_keypoints": int(there.sum()),
        }
        points = self._keypoints % tuple(keypoints.ravel().tolist())
        return f'{json.dumps({**head, **body})[:-1]}, "keypoints": [{points}]}}'


def category(query: Query) -> dict[str, Any]:
    """Return the category of faces with these points: the names of the points, and pairs of neighbours on a part, from 1."""
    layout = next((name for name in layout_names() if load_layout(name).query == query), "face")
    pairs = np.unique(part_splines(query).neighbours[:, 1:3], axis=0) + 1
    points = {"keypoints": list(query.names), "skeleton": pairs.tolist()}
    return {"id": _CATEGORY, "name": layout, "supercategory": "face", **points}
