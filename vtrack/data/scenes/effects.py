"""Image effects of detector scenes: colours, patterns, text, and the degradation by lenses, sensors and codecs."""

from __future__ import annotations

import cv2
import numpy as np

from vtrack.types import ImageArray


def recolour(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Change exposure and white balance by one lookup table; sometimes convert to grey or darken strongly."""
    ramp = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(0, 0.3) + (rng.uniform(0.3, 1.0) if rng.random() < 0.15 else 0.0))
    curve = ramp**gamma * np.exp(rng.normal(0, 0.1, 3)) * rng.uniform(0.6, 1.2) + rng.normal(0, 0.04)
    table = (np.clip(curve, 0, 1) * 255).astype(np.uint8)[None]
    if rng.random() < 0.12:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.LUT(np.ascontiguousarray(image), table)


def pattern(height: int, width: int, rng: np.random.Generator) -> ImageArray:
    """Image of stripes, dots, blobs, noise or text in two colours."""
    if rng.random() < 0.35:
        return writing(height, width, rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind, period = rng.integers(4), rng.uniform(4, 60)
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if kind == 0:
        mix = np.sin(2 * np.pi * along / period) * 0.5 + 0.5
    elif kind == 1:
        mix = (
            np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period) > rng.uniform(-0.3, 0.8)
        ).astype(np.float32)
    elif kind == 2:
        cells = rng.random((max(int(height / period), 2), max(int(width / period), 2))).astype(np.float32)
        mix = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        mix = rng.random((height, width)).astype(np.float32)
    first, second = rng.integers(0, 256, (2, 3)).astype(np.float32)
    return np.clip(first + (second - first) * np.clip(mix, 0, 1)[..., None], 0, 255).astype(np.uint8)


def writing(height: int, width: int, rng: np.random.Generator) -> ImageArray:
    """Image of outlined letters and rings, as on posters, shirts and titles: their dark holes resemble eyes."""
    out = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    letters = np.array(list("ABCDEGOPQRSaegoqs0689B8&@%:;."))
    for _ in range(int(rng.integers(1, 7))):
        colour, edge = rng.integers(0, 256, (2, 3)).tolist()
        place = (int(rng.uniform(-0.3, 0.8) * width), int(rng.uniform(0.1, 1.1) * height))
        if rng.random() < 0.25:
            radius = int(rng.uniform(0.04, 0.2) * min(height, width)) + 1
            for step in (0, rng.integers(2, 4) * radius):
                middle = (place[0] + int(step), place[1])
                cv2.circle(out, middle, radius, colour, -1, cv2.LINE_AA)
                cv2.circle(out, middle, max(radius // 2, 1), edge, -1, cv2.LINE_AA)
            continue
        text = "".join(rng.choice(letters, rng.integers(1, 12)))
        size = float(np.exp(rng.uniform(np.log(0.3), np.log(4.0)))) * min(height, width) / 160
        font, thick = int(rng.integers(0, 8)), max(int(size * rng.uniform(1, 4)), 1)
        cv2.putText(out, text, place, font, size, edge, thick + max(int(2 * size), 1), cv2.LINE_AA)
        cv2.putText(out, text, place, font, size, colour, thick, cv2.LINE_AA)
    return out


def line(out: ImageArray, rng: np.random.Generator) -> None:
    """Draw one line of bold letters across an image, as high as the image."""
    height, width = out.shape[:2]
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&@%!?'"))
    font = int(rng.integers(0, 8))
    size = rng.uniform(0.45, 0.8) * height / cv2.getTextSize("E", font, 1.0, 1)[0][1]
    thick = max(round(size * rng.uniform(1.0, 5.0)), 1)
    text = "".join(rng.choice(letters, max(int(width / (0.6 * height)), 1) + 1))
    colour, edge = rng.integers(0, 256, (2, 3)).tolist()
    place = (int(rng.uniform(-0.2, 0.3) * height), int(rng.uniform(0.75, 0.9) * height))
    if rng.random() < 0.3:
        cv2.putText(out, text, place, font, size, edge, thick + max(int(2 * size), 2), cv2.LINE_AA)
    cv2.putText(out, text, place, font, size, colour, thick, cv2.LINE_AA)


def degrade(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Degrade an image: exposure, motion blur or defocus, low resolution, noise, JPEG."""
    size = image.shape[1::-1]
    if rng.random() < 0.6:
        image = recolour(image, rng)
    if rng.random() < 0.12:
        length = int(rng.integers(3, 9))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        first, last = (np.round((length - 1) / 2 + sign * reach).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, first, last, 1.0)
        image = cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1))
    elif rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.12:
        factor = rng.uniform(0.35, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 14), (size[1] // 2 + 1, size[0] + 1, 3)).astype(np.int16)
        noise = np.concatenate([noise, -noise[::-1]])[: size[1], : size[0]]
        image = np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 92))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return image
