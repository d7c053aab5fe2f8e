"""Composes training scenes for the face detector from scaled, rotated, cropped and degraded photographs.

The photographs show one large face each. In video, faces are ten to a thousand pixels large, at the edge of the frame, rolled,
blurred, behind hands. So a scene is a mosaic of photographs or a single one, with heads pasted over it and objects in front of
faces, and is then degraded like the image of a camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vtrack.data.scenes.album import Album, AlbumPicture, draw, moved
from vtrack.data.scenes.effects import degrade, line, pattern, recolour
from vtrack.data.scenes.labels import COLLECTIONS, DOUBTFUL, TRUTH, upright
from vtrack.types import FloatArray, ImageArray

MOST_FACES = 48
"""Largest number of labelled faces in a scene."""


@dataclass(frozen=True)
class Scene:
    """One training example."""

    image: ImageArray
    """(size, size, 3)"""
    boxes: FloatArray
    """(faces, 4) x, y, w, h; may leave the image."""
    centers: FloatArray
    """(faces, 2) centre of the visible part of each face."""
    angles: FloatArray
    """(faces,) roll in radians."""
    doubtful: np.ndarray
    """(faces,) bool: whether the loss ignores the face."""


class _Faces:
    """The faces on a canvas during composition."""

    def __init__(self) -> None:
        self.hulls: list[FloatArray] = []
        self.anchors: list[FloatArray] = []
        self.kinds: list[int] = []
        self.seen: list[FloatArray] = []
        """Visible region x0, y0, x1, y1 of each face."""
        self.hidden: list[float] = []
        """Share of each face that is covered by pasted objects."""

    def add(self, hull: FloatArray, anchors: FloatArray, kind: int, region: FloatArray) -> None:
        self.hulls.append(hull)
        self.anchors.append(anchors)
        self.kinds.append(kind)
        self.seen.append(region)
        self.hidden.append(0.0)

    def boxes(self) -> FloatArray:
        """(faces, 4) x0, y0, x1, y1"""
        if not self.hulls:
            return np.zeros((0, 4))
        hulls = np.stack(self.hulls)
        return np.concatenate([hulls.min(1), hulls.max(1)], 1)


class Composer:
    """Composes scenes from an album. The same state of the random generator gives the same scene.

    Args:
        album: The photographs.
        size: Side of a scene in pixels.
    """

    def __init__(self, album: Album, size: int) -> None:
        self.album, self.size = album, size
        # In-the-wild photographs resemble video most, so studio portraits and scans are drawn less often.
        share = {
            "w68": 0.5,
            "ytf68": 0.2,
            "fgnet68": 0.12,
            "imm73": 0.02,
            "frl189": 0.05,
            "scut86": 0.11,
            "turned68": 0.7,
        }
        weights = np.zeros(len(album.pictures))
        for place, collection in enumerate(COLLECTIONS):
            members = album.collections == place
            weights[members] = share[collection.name] / max(members.sum(), 1)
        self._cumulative = np.cumsum(weights / weights.sum())

    def scene(self, rng: np.random.Generator) -> Scene:
        """Compose and degrade one scene."""
        size = self.size
        canvas = np.empty((size, size, 3), np.uint8)
        faces = _Faces()
        kind = rng.random()
        if kind < 0.42:
            self._mosaic(canvas, faces, rng)
        elif kind < 0.92:
            smallest = 20 if rng.random() < 0.6 else size / 4
            target = float(np.exp(rng.uniform(np.log(smallest), np.log(1.45 * size))))
            self._tile(canvas, faces, (0, 0, size, size), rng, target)
        else:
            self._faceless(canvas, (0, 0, size, size), rng)
        if rng.random() < 0.4:
            for _ in range(rng.integers(1, 5)):
                self._paste(canvas, faces, rng)
        if rng.random() < 0.3:
            self._cover(canvas, faces, rng)
        if rng.random() < 0.35:
            self._caption(canvas, faces, rng)
        return self._finish(degrade(canvas, rng), faces)

    def _pick(self, rng: np.random.Generator) -> AlbumPicture:
        """Draw a photograph."""
        return self.album.pictures[int(np.searchsorted(self._cumulative, rng.random()))]

    def _mosaic(self, canvas: ImageArray, faces: _Faces, rng: np.random.Generator) -> None:
        """Fill the canvas with 2 x 2 to 6 x 6 tiles of uneven sizes."""
        grid = int(rng.choice([2, 2, 3, 3, 4, 6]))
        cuts = [np.linspace(0, self.size, grid + 1) for _ in range(2)]
        for cut in cuts:
            cut[1:-1] += rng.uniform(-0.3, 0.3, grid - 1) * self.size / grid
        xs, ys = (cut.round().astype(int) for cut in cuts)
        for row in range(grid):
            for column in range(grid):
                region = (xs[column], ys[row], xs[column + 1], ys[row + 1])
                if rng.random() < 0.12:
                    self._faceless(canvas, region, rng)
                else:
                    room = min(region[2] - region[0], region[3] - region[1])
                    self._tile(canvas, faces, region, rng, room * float(np.exp(rng.uniform(np.log(0.22), np.log(0.9)))))

    def _map(
        self, picture: AlbumPicture, face: int, target: float, where: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """(2, 3) random affine matrix that places a face of the picture at `where`, its longer side `target` pixels."""
        low, high = picture.hulls[face].min(0), picture.hulls[face].max(0)
        scale = target / float((high - low).max())
        choice = rng.random()
        angle = (
            rng.normal(0, 0.2)
            if choice < 0.6
            else rng.uniform(-2.0, 2.0)
            if choice < 0.93
            else rng.uniform(-np.pi, np.pi)
        )
        stretch = np.diag(np.exp(rng.normal(0, 0.05, 2)))
        if rng.random() < 0.5:
            stretch[0] *= -1
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = scale * np.array([[cos, -sin], [sin, cos]]) @ stretch
        return np.concatenate([matrix, (where - matrix @ ((low + high) / 2))[:, None]], 1)

    def _tile(
        self, canvas: ImageArray, faces: _Faces, region: tuple[int, ...], rng: np.random.Generator, target: float
    ) -> None:
        """Draw one photograph in a region, its main face `target` pixels long at a random place, sometimes cut off."""
        picture = self._pick(rng)
        x0, y0, x1, y1 = region
        spread = 0.2 if rng.random() < 0.75 else 0.48
        where = np.array(
            [
                rng.uniform(0.5 - spread, 0.5 + spread) * (x1 - x0) + x0,
                rng.uniform(0.5 - spread, 0.5 + spread) * (y1 - y0) + y0,
            ]
        )
        matrix = self._map(picture, 0, max(target, 8.0), where, rng)
        out = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        if rng.random() < 0.6:
            self._faceless(out, (0, 0, x1 - x0, y1 - y0), rng)
        else:
            out[:] = rng.integers(0, 256, 3) if rng.random() < 0.3 else rng.choice([0, 114, 255])
        draw(picture, matrix, out, (x0, y0), cv2.BORDER_TRANSPARENT)
        canvas[y0:y1, x0:x1] = recolour(out, rng) if rng.random() < 0.5 else out
        height, width = picture.levels[0].shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
        seen = np.array([*np.maximum(corners.min(0), (x0, y0)), *np.minimum(corners.max(0), (x1, y1))])
        for hull, anchors, kind in zip(picture.hulls, picture.anchors, picture.kinds, strict=True):
            faces.add(*moved(matrix, hull, anchors), int(kind), seen)

    def _faceless(self, canvas: ImageArray, region: tuple[int, ...], rng: np.random.Generator) -> None:
        """Fill a region without a face: an enlarged patch beside faces (clothes, hands, hair, leaves), an ear, or a pattern."""
        x0, y0, x1, y1 = region
        out = canvas[y0:y1, x0:x1]
        choice = rng.random()
        if choice < 0.2:
            self._feature(out, rng)
            return
        for _ in range(6 if choice < 0.85 else 0):
            picture = self._pick(rng)
            height, width = picture.levels[0].shape[:2]
            side = rng.uniform(0.12, 0.5) * min(height, width)
            left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
            low, high = picture.hulls.min(1), picture.hulls.max(1)
            margin = 0.12 * (high - low)
            apart = (left + side < low[:, 0] - margin[:, 0]) | (left > high[:, 0] + margin[:, 0])
            apart |= (top + side < low[:, 1] - margin[:, 1]) | (top > high[:, 1] + margin[:, 1])
            if apart.all():
                patch = picture.levels[0][int(top) : int(top + side) + 1, int(left) : int(left + side) + 1]
                turned = np.rot90(patch, int(rng.integers(4)))
                out[:] = recolour(
                    cv2.resize(np.ascontiguousarray(turned), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), rng
                )
                return
        out[:] = pattern(y1 - y0, x1 - x0, rng)

    def _feature(self, out: ImageArray, rng: np.random.Generator) -> None:
        """Fill an image with an enlarged detail of a face: a single eye, ear or chin is a negative example."""
        picture = self._pick(rng)
        low, high = picture.hulls[0].min(0), picture.hulls[0].max(0)
        side = float((high - low).max()) * rng.uniform(0.15, 0.35)
        where = (low + high) / 2 + (high - low) * rng.uniform(-0.65, 0.65, 2)
        sides = np.array(out.shape[1::-1])
        scale = float(sides.max() / side)
        matrix = np.concatenate([scale * np.eye(2), (sides / 2 - scale * where)[:, None]], 1)
        draw(picture, matrix, out, (0, 0), cv2.BORDER_REFLECT_101)
        out[:] = recolour(out, rng)

    def _caption(self, canvas: ImageArray, faces: _Faces, rng: np.random.Generator) -> None:
        """Draw captions, on the image itself or on a band."""
        for _ in range(rng.integers(1, 4)):
            height = int(np.exp(rng.uniform(np.log(0.05), np.log(0.35))) * self.size)
            width = int(rng.uniform(0.25, 1.0) * self.size)
            x0, y0 = (int(rng.uniform(0, self.size - side)) for side in (width, height))
            area = canvas[y0 : y0 + height, x0 : x0 + width]
            written = area.copy()
            if rng.random() < 0.5:
                written[:] = rng.integers(0, 256, 3)
            line(written, rng)
            self._hide(faces, np.array([x0, y0]), ((written != area).any(2) * 255).astype(np.uint8))
            area[:] = written

    def _paste(self, canvas: ImageArray, faces: _Faces, rng: np.random.Generator) -> None:
        """Paste a head with a soft edge at a random place, often beside another face, as in crowds."""
        picture = self._pick(rng)
        boxes = faces.boxes()
        target = float(np.exp(rng.uniform(np.log(10), np.log(0.45 * self.size))))
        where = rng.uniform(-0.02, 1.02, 2) * self.size
        usable = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0) > 24)
        if len(usable) and rng.random() < 0.4:
            beside = boxes[rng.choice(usable)]
            target = float((beside[2:] - beside[:2]).max() * np.exp(rng.normal(0, 0.2)))
            direction = rng.uniform(-np.pi, np.pi)
            where = (beside[:2] + beside[2:]) / 2 + target * rng.uniform(0.55, 1.0) * np.array(
                [np.cos(direction), 0.6 * np.sin(direction)]
            )
        matrix = self._map(picture, 0, target, where, rng)
        hull, anchors = moved(matrix, picture.hulls[0], picture.anchors[0])
        low, high = hull.min(0), hull.max(0)
        middle, reach = (low + high) / 2, (high - low).max() * rng.uniform(0.68, 0.9)
        x0, y0 = np.clip(np.floor(middle - reach), 0, self.size).astype(int)
        x1, y1 = np.clip(np.ceil(middle + reach), 0, self.size).astype(int)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        # The hull ends at brows and jaw; the mask extends it to the hair.
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        grown = (hull - middle) * (reach / ((high - low).max() / 2)) * 0.8 + middle - (x0, y0)
        cv2.fillConvexPoly(mask, cv2.convexHull(grown.astype(np.float32)).astype(np.int32), 255)
        soft = int(max(1, 0.06 * target)) * 2 + 1
        mask = cv2.GaussianBlur(mask, (soft, soft), 0)
        out = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        draw(picture, matrix, out, (x0, y0), cv2.BORDER_REPLICATE)
        out = recolour(out, rng)
        area = canvas[y0:y1, x0:x1]
        part = mask[..., None].astype(np.uint16)
        area[:] = ((out * part + area * (255 - part)) // 255).astype(np.uint8)
        self._hide(faces, np.array([x0, y0]), mask)
        faces.add(hull, anchors, TRUTH, np.array([0, 0, self.size, self.size], np.float64))

    @staticmethod
    def _hide(faces: _Faces, corner: np.ndarray, mask: ImageArray) -> None:
        """Add the share of each face that a mask covers to `faces.hidden`."""
        for i, box in enumerate(faces.boxes()):
            x0, y0 = np.clip(np.floor(box[:2] - corner), 0, mask.shape[::-1]).astype(int)
            x1, y1 = np.clip(np.ceil(box[2:] - corner), 0, mask.shape[::-1]).astype(int)
            if x1 > x0 and y1 > y0:
                faces.hidden[i] += float((mask[y0:y1, x0:x1] > 127).sum() / max(np.prod(box[2:] - box[:2]), 1))

    def _cover(self, canvas: ImageArray, faces: _Faces, rng: np.random.Generator) -> None:
        """Draw ellipses and rectangles of textures without faces in front of some faces."""
        for box in faces.boxes():
            size = box[2:] - box[:2]
            if rng.random() < 0.5 or size.max() < 16:
                continue
            sides = np.maximum((size * rng.uniform(0.25, 0.6, 2)).astype(int), 3)
            middle = box[:2] + size * rng.uniform(0, 1, 2)
            x0, y0 = np.clip((middle - sides / 2).astype(int), 0, self.size)
            x1, y1 = np.clip((middle + sides / 2).astype(int), 0, self.size)
            if x1 - x0 < 3 or y1 - y0 < 3:
                continue
            texture = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
            self._faceless(texture, (0, 0, x1 - x0, y1 - y0), rng)
            mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
            if rng.random() < 0.6:
                cv2.ellipse(
                    mask, ((x1 - x0) // 2, (y1 - y0) // 2), ((x1 - x0) // 2, (y1 - y0) // 2), 0, 0, 360, 255, -1
                )
            else:
                mask[:] = 255
            canvas[y0:y1, x0:x1][mask > 0] = texture[mask > 0]
            self._hide(faces, np.array([x0, y0]), mask)

    def _finish(self, image: ImageArray, faces: _Faces) -> Scene:
        """Label the faces: those of which less than 45 % is visible, too small or too large ones are doubtful."""
        boxes = faces.boxes()
        if not len(boxes):
            return Scene(image, np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool))
        seen = np.array(faces.seen).reshape(-1, 4)
        low = np.clip(np.maximum(boxes[:, :2], seen[:, :2]), 0, self.size)
        high = np.clip(np.minimum(boxes[:, 2:], seen[:, 2:]), 0, self.size)
        sides = boxes[:, 2:] - boxes[:, :2]
        share = np.clip(high - low, 0, None).prod(1) / np.maximum(sides.prod(1), 1e-6) - np.array(faces.hidden)
        longest = sides.max(1)
        doubtful = (np.array(faces.kinds) == DOUBTFUL) | (share < 0.45) | (longest < 8) | (longest > 1.8 * self.size)
        keep = np.flatnonzero((np.clip(high - low, 0, None).prod(1) > 0) & (longest > 3))
        keep = keep[np.argsort(doubtful[keep], kind="stable")][:MOST_FACES]
        xywh = np.concatenate([boxes[:, :2], sides], 1)
        return Scene(
            image, xywh[keep], ((low + high) / 2)[keep], upright(np.array(faces.anchors))[keep], doubtful[keep]
        )
