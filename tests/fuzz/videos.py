"""Damaged videos of five containers and five codecs, with a face, with sound, with uneven times."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from tests.clips import write_clip
from tests.fuzz.commands import run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from vtrack.types import ImageArray

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"
FORMATS = (
    *((suffix, codec) for suffix in (".mp4", ".mkv", ".avi") for codec in ("libx264", "mpeg4", "mjpeg")),
    *((".webm", "libvpx"), (".ts", "libx264"), (".ts", "mpeg2video"), (".mkv", "libvpx")),
)
FRAMES, SIZE = 12, (160, 120)


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Track a damaged video, into a table and now and then into an annotated video."""
    suffix, codec = FORMATS[rng.integers(len(FORMATS))]
    times = _times(rng) if suffix in (".mp4", ".mkv") and rng.random() < 0.3 else None
    path = folder / f"in{suffix}"
    if times is None:
        path.write_bytes(_clip(suffix, codec))
    else:
        write_clip(path, FRAMES, SIZE, times=times, codec=codec, pix_fmt=_pixels(codec), draw=_face)
    if times is None or rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))
    options = ["--video"] if rng.random() < 0.3 else []
    mode = str(rng.choice(["rts", "kalman", "one-euro", "none"]))
    return run_command(
        ["run", path, "--parts", "eyes,lips", "--smooth", mode, "--overwrite", "--quiet", *options], folder
    )


@lru_cache
def _clip(suffix: str, codec: str) -> bytes:
    """A whole video, with sound where the container takes it."""
    path = scratch() / f"clip-{codec}{suffix}"
    audio = 0 if suffix == ".avi" else 1
    tick = Fraction(1, 25) if codec == "mpeg2video" else Fraction(1, 12800)
    write_clip(path, FRAMES, SIZE, time_base=tick, codec=codec, pix_fmt=_pixels(codec), audio=audio, draw=_face)
    return path.read_bytes()


@lru_cache
def scratch() -> Path:
    """A folder of this process that lasts until it ends."""
    folder = tempfile.mkdtemp(prefix="vtrack-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _pixels(codec: str) -> str:
    return "yuvj420p" if codec == "mjpeg" else "yuv420p"


def _times(rng: np.random.Generator) -> list[float]:
    """Uneven moments: steps of a tick, of a frame, of minutes."""
    steps = rng.choice([0.001, 0.001, 0.04, 0.04, 0.04, 0.5, 90.0], FRAMES)
    return [float(moment) for moment in np.cumsum(steps)]


def _face(index: int, width: int, height: int) -> ImageArray:
    """A frame of the sample clip."""
    pictures = _sample(width, height)
    return pictures[index % len(pictures)]


@lru_cache
def _sample(width: int, height: int) -> list[ImageArray]:
    with av.open(str(SAMPLE)) as container:
        frames = [frame for frame, _ in zip(container.decode(video=0), range(FRAMES * 4), strict=False)][::4]
    return [frame.to_ndarray(format="rgb24", width=width, height=height) for frame in frames]
