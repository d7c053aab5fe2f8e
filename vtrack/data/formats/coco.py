"""COCO-style JSON: `images` and `annotations` with `keypoints` x, y, v; pictures beside it or in `images/`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError
from vtrack.layouts import Layout


def read_coco(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """Read all faces of a file; a split other than `all` must match the file's name (with `train` in it, or without)."""
    if split != "all" and not folders.wanted("train" if "train" in path.stem.lower() else "test", split):
        raise DataError(f"{path}: by its name this file is not of the split {split!r}; read it with the split `all`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        faces = [(names[face["image_id"]], face["keypoints"], face.get("bbox")) for face in content["annotations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a COCO file of images and annotations: {type(error).__name__} {error}") from error
    for file, keypoints, _ in faces:
        if len(keypoints) != 3 * len(layout):
            raise DataError(f"{path}: {file} has {len(keypoints) / 3:g} points, the layout {layout.name} {len(layout)}")
        if any(seen == 0 for seen in keypoints[2::3]):
            raise DataError(f"{path}: {file} has points that are not annotated (their third number is 0)")
    if not faces:
        raise DataError(f"{path}: no faces in it")
    files = tuple(file for file, _, _ in faces)
    points = np.array([keypoints for _, keypoints, _ in faces], np.float32).reshape(len(faces), -1, 3)[..., :2]
    boxes = [box for _, _, box in faces]
    root = folders.choose_root((path.parent, path.parent / "images", path.parent.parent / "images"), files[0])
    return Dataset(
        name,
        layout,
        files,
        points,
        files,
        folders.reader(root, path),
        boxes=None if any(box is None for box in boxes) else np.array(boxes, np.float32).reshape(-1, 4),
    )
