"""The clips of the suite: made from the sample and from photographs, the same each time, or taken from a user's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from vtrack.errors import SinkError, SourceError, UsageError

Image = npt.NDArray[np.uint8]

_ROOT = Path(__file__).resolve().parents[3]
SAMPLE = _ROOT / "samples" / "sample.mp4"
"""Nine seconds of a face that talks, turns and blinks; only in the source of vtrack."""
PHOTOGRAPHS = _ROOT / "tests" / "data" / "london" / "images"
"""Sixteen faces from the front."""
FPS = 30
_CENTRE = 320.0, 240.0
"""Where the face of the sample is, about, in its pixels."""
_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv"})
_TALK = 4.4
"""Seconds of the sample in which it talks and hardly turns."""
_SHOT = 2.0
"""Seconds between the cuts of the clip of cuts."""


@dataclass(frozen=True)
class SuiteClip:
    """A clip that programs can run over."""

    name: str
    kind: str
    """What happens in it, in words."""
    path: Path
    faces: int
    """Faces that programs may follow at most."""


@dataclass(frozen=True)
class _Scene:
    """How a clip is made."""

    kind: str
    size: tuple[int, int]
    """Width and height in pixels."""
    faces: int
    draw: Callable[[float, int, int], Image]
    """The picture (height, width, 3) in RGB at a time in seconds, of this width and height."""
    codec: str = "libx264"
    suffix: str = ".mp4"
    uneven: bool = False
    """Whether the steps between frames vary, from 1/60 to 4/60 of a second."""
    share: float = 1.0
    """Length in relation to that of the other clips; large frames take long to make."""


def made_names() -> list[str]:
    """Names of the clips that the suite makes."""
    return list(_SCENES)


def make_clips(folder: Path, seconds: float, names: Sequence[str] = ()) -> Iterator[SuiteClip]:
    """Make the clips of the suite one after the other, each when it is asked for.

    Args:
        folder: Where they are written, made if absent; those of the same length that are there are taken as they are.
        seconds: Length of each.
        names: Those to make; empty for all.

    Yields:
        Each clip, written.

    Raises:
        SourceError: The sample or the photographs are not here, as in an installed package.
        SinkError: The folder cannot be made.
        UsageError: There is no clip of this name.
    """
    if not SAMPLE.exists() or not PHOTOGRAPHS.is_dir():
        raise SourceError(
            "the suite makes its clips from samples/sample.mp4 and tests/data, which come with the source of vtrack; "
            "run it in a checkout, or name a folder of clips: --clips DIR"
        )
    _check_names(names, made_names())
    _make_folder(folder)
    for name in names or _SCENES:
        scene = _SCENES[name]
        path = folder / f"{name}-{seconds:g}s{scene.suffix}"
        if not path.exists():
            unfinished = path.with_stem(f"{path.stem}.unfinished")
            _write(scene, unfinished, seconds * scene.share)
            unfinished.replace(path)
        yield SuiteClip(name, scene.kind, path, scene.faces)


def folder_clips(
    folder: Path, scratch: Path, seconds: float, faces: int, names: Sequence[str] = ()
) -> Iterator[SuiteClip]:
    """Take the clips from a folder, at most so many seconds of each.

    Args:
        folder: The folder with videos; those in folders below it are not taken.
        scratch: Where shortened copies are written, made if absent; packets are copied, nothing is compressed again.
        seconds: Length of each at most.
        faces: Faces to follow at most in each.
        names: Names without endings of those to take; empty for all.

    Yields:
        Each clip, in the order of names.

    Raises:
        SourceError: There is no such folder, or it holds no video.
        SinkError: The folder of copies cannot be made.
        UsageError: There is no clip of this name.
    """
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; name one with videos: --clips DIR")
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise SourceError(f"{folder} holds no videos; name a folder that does: --clips DIR")
    _check_names(names, [path.stem for path in paths])
    _make_folder(scratch)
    for path in paths:
        if not names or path.stem in names:
            yield SuiteClip(path.stem, "", _shortened(path, scratch / path.name, seconds), faces)


def _make_folder(folder: Path) -> None:
    """Make the folder that clips are written to, if it is absent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"clips cannot be written to {folder}: {error.strerror}; name another folder") from error


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--only: no clip {unknown[0]!r}; there are {', '.join(known)}")


def _shortened(path: Path, copy: Path, seconds: float) -> Path:
    """The video itself if it is no longer, or a copy of its first seconds: packets in their order need no later ones.

    The last frames may come with gaps where frames are stored out of order. What cannot be read is left to the programs,
    which say so.
    """
    try:
        with av.open(str(path)) as source:
            if source.duration is not None and source.duration / av.time_base <= seconds:
                return path
            stream = source.streams.video[0]
            with av.open(str(copy), "w") as output:
                track = output.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    if (packet.dts - (stream.start_time or 0)) * (stream.time_base or 0) >= seconds:
                        break
                    packet.stream = track
                    output.mux(packet)
    except (av.FFmpegError, IndexError):
        return path
    return copy


def _write(scene: _Scene, path: Path, seconds: float) -> None:
    """Draw and encode a clip."""
    rng = np.random.default_rng(0)
    ticks = np.arange(0, round(seconds * 60), 2)
    if scene.uneven:
        ticks = np.cumsum(rng.integers(1, 5, len(ticks))) - 1
        ticks = ticks[ticks < seconds * 60]
    width, height = scene.size
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(scene.codec, rate=60 if scene.uneven else FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 60)
        # A fixed number of threads gives the same file on every machine.
        stream.codec_context.thread_count = 2
        stream.options = _ENCODERS[scene.codec]
        for tick in ticks:
            frame = av.VideoFrame.from_ndarray(scene.draw(float(tick) / 60, width, height))
            frame.pts, frame.time_base = int(tick), Fraction(1, 60)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "21"},
    "libx265": {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=error"},
    # Its deadline "realtime" gives another file each time.
    "libvpx": {"deadline": "good", "cpu-used": "5", "b": "1500k"},
}


@cache
def _film() -> list[Image]:
    """The frames (480, 640, 3) of the sample."""
    with av.open(str(SAMPLE)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


@cache
def _photographs() -> list[Image]:
    """The photographs (352, 352, 3)."""
    with_colours = [cv2.imread(str(path)) for path in sorted(PHOTOGRAPHS.glob("*.jpg"))]
    return [np.ascontiguousarray(image[..., ::-1]) for image in with_colours if image is not None]


def _at(time: float, *, start: float = 0.0, stop: float = 9.0) -> Image:
    """The frame of the sample at a time; between start and stop it runs to and fro."""
    first, last = round(start * FPS), min(round(stop * FPS), len(_film())) - 1
    span = last - first
    step = round(time * FPS) % (2 * span)
    return _film()[first + (step if step <= span else 2 * span - step)]


def _view(image: Image, width: int, height: int, centre: tuple[float, float], zoom: float, roll: float = 0.0) -> Image:
    """What a camera sees of a picture: `centre` in the middle, enlarged, turned by `roll` degrees."""
    matrix = cv2.getRotationMatrix2D(centre, roll, zoom)
    matrix[:, 2] += width / 2 - centre[0], height / 2 - centre[1]
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def _wave(time: float, rate: float, phase: float = 0.0) -> float:
    """A sine of `rate` turns a second."""
    return float(np.sin(2 * np.pi * (rate * time + phase)))


def _person(number: int, time: float, width: int, height: int) -> Image:
    """One of many people: every third is filmed, the others are photographs that sway."""
    side = min(width, height)
    if number % 3 == 0:
        image = _at(time + 1.7 * number, stop=_TALK)
        image = image[:, ::-1] if number % 2 else image
        return _view(np.ascontiguousarray(image), width, height, _CENTRE, side / 400)
    photographs = _photographs()
    sway = 6 * _wave(time, 0.3, number / 7), 4 * _wave(time, 0.4, number / 5)
    return _view(
        photographs[number % len(photographs)],
        width,
        height,
        (176 + sway[0], 176 + sway[1]),
        side / 340,
        3 * _wave(time, 0.25, number / 3),
    )


def _people(columns: int, rows: int) -> Callable[[float, int, int], Image]:
    """People side by side and one above the other."""

    def draw(time: float, width: int, height: int) -> Image:
        # Codecs need even sizes of the whole; what rounding leaves over is grey.
        picture = np.full((height, width, 3), 128, np.uint8)
        wide, high = width // columns, height // rows
        for number in range(columns * rows):
            row, column = divmod(number, columns)
            place = picture[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            place[:] = _person(number, time, wide, high)
        return picture

    return draw


@cache
def _panorama(height: int) -> Image:
    """Photographs side by side."""
    images = _photographs()[:8]
    return np.hstack([_view(image, height, height, (176.0, 176.0), height / 480) for image in images])


def _pan(time: float, width: int, height: int) -> Image:
    """A camera that goes over a row of photographs and back within 16 seconds, with a tremor."""
    wall = _panorama(height)
    reach = wall.shape[1] - width
    x = width / 2 + reach * (0.5 - 0.5 * np.cos(2 * np.pi * time / 16))
    return _view(wall, width, height, (x + 2 * _wave(time, 2.1), height / 2 + 3 * _wave(time, 1.7)), 1.0)


def _cuts(time: float, width: int, height: int) -> Image:
    """A new shot every two seconds, of the film and of photographs by turns."""
    shot = int(time / _SHOT)
    if shot % 2:
        return _person(3 * shot + 1, time, width, height)
    image = np.ascontiguousarray(_film_mirrored(time) if shot % 4 else _at(time))
    return _view(image, width, height, _CENTRE, (height / 480) * (1 + 0.4 * (shot % 3)))


def _film_mirrored(time: float) -> Image:
    return _at(time + 3.0)[:, ::-1]


def _fast_head(time: float, width: int, height: int) -> Image:
    """A head that swings across the picture: up to 24 pixels and 5 degrees a frame."""
    centre = _CENTRE[0] + 115 * _wave(time, 1.0), _CENTRE[1] + 30 * _wave(time, 1.6)
    return _view(_at(time), width, height, centre, 1.0 + 0.15 * _wave(time, 0.7), 25 * _wave(time, 0.9))


def _nobody(time: float, width: int, height: int) -> Image:
    """A camera that goes over the edge of the sample, where nobody is."""
    return _view(_film()[0], width, height, (40 + 12 * _wave(time, 0.2), 400 + 20 * _wave(time, 0.3)), width / 110)


def _talk(zoom: float) -> Callable[[float, int, int], Image]:
    """A calm talk; a zoom of 1 shows the height of the sample."""

    def draw(time: float, width: int, height: int) -> Image:
        return _view(_at(time, stop=_TALK), width, height, _CENTRE, height / 480 * zoom)

    return draw


def _expressions(time: float, width: int, height: int) -> Image:
    """Speech, blinks and turns of the head at double speed."""
    return _view(_at(2 * time), width, height, _CENTRE, height / 480)


_SCENES = {
    "talk-small": _Scene("calm talk, small", (360, 288), 1, _talk(1.0)),
    "talk-large": _Scene("calm talk, large", (1280, 720), 1, _talk(1.7)),
    "expressions": _Scene("strong expressions", (480, 480), 1, _expressions),
    "fast-head": _Scene("fast head", (640, 360), 1, _fast_head),
    "pan": _Scene("camera pan", (1280, 720), 3, _pan),
    "cuts": _Scene("a cut every two seconds", (854, 480), 1, _cuts),
    "three": _Scene("three people", (1280, 720), 3, _people(3, 1)),
    "six": _Scene("six people", (1280, 720), 6, _people(3, 2)),
    "crowd": _Scene("24 people, 1080p", (1920, 1080), 24, _people(6, 4), share=0.5),
    "portrait-4k": _Scene("4K portrait, HEVC", (2160, 3840), 1, _talk(0.75), codec="libx265", share=0.34),
    "uneven": _Scene(
        "variable frame rate, VP8", (640, 480), 1, _talk(1.0), codec="libvpx", suffix=".webm", uneven=True
    ),
    "no-face": _Scene("no face", (640, 480), 1, _nobody),
}
