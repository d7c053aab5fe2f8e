"""Damage to bytes, as disks, networks and hostile people do it."""

from __future__ import annotations

import numpy as np


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to four kinds of damage."""
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            return data
        data = _KINDS[rng.integers(len(_KINDS))](data, rng)
    return data


def _span(data: bytes, rng: np.random.Generator, longest: int = 4096) -> slice:
    """A random stretch of the bytes; headers are hit as often as the rest."""
    start = int(rng.integers(min(len(data), 512))) if rng.random() < 0.4 else int(rng.integers(len(data)))
    return slice(start, start + int(rng.integers(1, longest)))


def _noise(data: bytes, rng: np.random.Generator) -> bytes:
    span = _span(data, rng)
    return data[: span.start] + rng.bytes(len(data[span])) + data[span.stop :]


def _flipped_bits(data: bytes, rng: np.random.Generator) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(array), int(rng.integers(1, 64)))
    array[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return array.tobytes()


def _cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    span = _span(data, rng)
    return data[: span.start] + data[span.stop :]


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _repeated(data: bytes, rng: np.random.Generator) -> bytes:
    span = _span(data, rng)
    return data[: span.stop] + data[span] + data[span.stop :]


def _zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    span = _span(data, rng)
    return data[: span.start] + bytes(len(data[span])) + data[span.stop :]


def _extreme_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Four or eight bytes set to a value at the edge of what they can hold."""
    width = int(rng.choice([2, 4, 8]))
    place = int(rng.integers(max(len(data) - width, 1)))
    value = [bytes(width), b"\xff" * width, b"\x7f" + b"\xff" * (width - 1), b"\x80" + bytes(width - 1)][
        rng.integers(4)
    ]
    return data[:place] + value + data[place + width :]


_KINDS = (_noise, _flipped_bits, _cut_out, _truncated, _repeated, _zeroed, _extreme_number)
