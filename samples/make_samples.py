"""Make short clips of a moving face whose landmarks are known exactly.

    python samples/make_samples.py -o DIR                       all clips
    python samples/make_samples.py -o DIR --clips blink,turn    some
    python samples/make_samples.py                              samples/sample.mp4, the one in the repository

Each clip NAME.mp4 (H.264, with a synthetic voice in AAC) comes with NAME.csv: one row for each frame and face, with the
68 points (300W order) in pixels of the frame and the share of visible points. The photograph comes with scikit-image,
which must be installed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples.portrait import Portrait, Pose, photograph

WIDTH, HEIGHT, FPS, SOUND_RATE = 640, 480, 30, 48000
COLUMNS = ["frame", "time_s", "face", "visible", *(f"{axis}{i}" for i in range(1, 69) for axis in "xy")]


@dataclass(frozen=True)
class Clip:
    """A clip: the pose of each face as a function of the elapsed share of the clip, 0..1."""

    frames: int
    faces: tuple[Callable[[float], Pose], ...]
    """Pose functions of the faces, the nearest last."""
    cut_out: bool = False
    """Whether only the person moves in front of a backdrop, instead of the whole photograph."""
    noise: float = 0
    """Standard deviation of sensor noise, in grey levels."""


def wave(u: float, turns: float = 1, phase: float = 0) -> float:
    """Return a sine wave, -1..1, which starts at 0 for phase 0."""
    return float(np.sin(2 * np.pi * (turns * u + phase)))


def pulse(u: float, at: float, half: float) -> float:
    """Return a pulse, 0..1: it rises before `at`, holds briefly and falls, and is zero beyond `half` of it."""
    return float(np.clip(1.3 * np.cos(np.pi / 2 * np.clip((u - at) / half, -1, 1)) ** 2, 0, 1))


def path(u: float, *stops: tuple[float, float]) -> float:
    """Interpolate between (time, value) stops, with zero speed at each stop."""
    times, values = np.array(stops).T
    i = int(np.clip(np.searchsorted(times, u, "right") - 1, 0, len(stops) - 2))
    v = np.clip((u - times[i]) / (times[i + 1] - times[i]), 0, 1)
    return float(values[i] + (values[i + 1] - values[i]) * v * v * (3 - 2 * v))


def still(_: float) -> Pose:
    return Pose()


def moving(u: float) -> Pose:
    return Pose(
        320 + 95 * wave(u, 2), 245 + 45 * wave(u, 3), 2 + 0.35 * wave(u, 1), 8 * wave(u, 2, 0.25), 8 * wave(u, 1)
    )


def rotating(u: float) -> Pose:
    return Pose(scale=1.8, roll=40 * wave(u, 1.5))


def blinking(u: float) -> Pose:
    blink = max(pulse(u, at, 0.055) for at in (0.15, 0.4, 0.52, 0.85))
    return Pose(320 + 4 * wave(u), 240, 2.4, blink=blink)


def talking(u: float) -> Pose:
    mouth = max(pulse(u, 0.12, 0.1), 0.6 * pulse(u, 0.3, 0.08), pulse(u, 0.62, 0.14))
    return Pose(
        scale=2.2, mouth=mouth, narrow=path(u, (0.35, 0), (0.5, 1), (0.75, 1), (0.9, 0)), brows=pulse(u, 0.62, 0.2)
    )


def leaving(u: float) -> Pose:
    x = path(u, (0.05, 320), (0.4, 1000), (0.5, 1000), (0.51, -330), (0.6, -330), (0.95, 320))
    return Pose(x, 250, 1.7, 4 * wave(u, 4))


def turning(u: float) -> Pose:
    yaw = path(u, (0.1, -28), (0.2, 28), (0.45, 28), (0.52, -28), (0.8, -28), (0.86, 5))
    return Pose(yaw=yaw, pitch=6 * wave(u, 2), blink=max(pulse(u, 0.15, 0.05), pulse(u, 0.485, 0.05)))


def passing_behind(u: float) -> Pose:
    return Pose(path(u, (0, 550), (1, 90)), 225 + 6 * wave(u, 4), 1.3, 3 * wave(u, 4, 0.25))


def passing_before(u: float) -> Pose:
    return Pose(path(u, (0, 90), (1, 550)), 245 + 6 * wave(u, 3), 1.5, 3 * wave(u, 3, 0.25))


def sample(u: float) -> Pose:
    """Nine seconds with motion, blinks, speech and turns of the head."""
    t = 9 * u
    speech = sum(size * pulse(t, at, 0.16) for at, size in
               ((2.3, 0.5), (2.6, 0.8), (2.95, 0.4), (3.3, 0.9), (3.7, 0.5), (4.0, 0.7), (4.35, 0.3)))  # fmt: skip
    return Pose(
        x=320 + 22 * wave(t, 0.22) + 10 * wave(t, 0.41, 0.2),
        y=248 + 8 * wave(t, 0.35),
        scale=path(t, (0, 2), (4, 2), (9, 2.2)),
        roll=path(t, (4.6, 0), (5.3, 11), (6.0, 11), (6.6, -4), (8, 0)) + 2 * wave(t, 0.3),
        yaw=path(t, (0, -6), (2, 8), (4.4, -10), (5.6, -8), (6.6, 24), (7.2, 24), (8.2, 0)),
        pitch=4 * wave(t, 0.5) + 5 * pulse(t, 7.6, 0.5),
        blink=max(pulse(t, at, 0.15) for at in (0.9, 3.1, 5.0, 6.3, 8.1, 8.45)),
        mouth=speech + 0.9 * pulse(t, 7.8, 0.5),
        narrow=path(t, (4.4, 0), (5.0, 1), (6.0, 1), (6.8, 0)),
        brows=pulse(t, 1.6, 0.5) + 0.7 * pulse(t, 7.7, 0.6),
    )


CLIPS = {
    "sample": Clip(270, (sample,)),
    "still": Clip(120, (still,), noise=5),
    "moving": Clip(150, (moving,)),
    "rotating": Clip(150, (rotating,)),
    "blink": Clip(120, (blinking,)),
    "mouth": Clip(120, (talking,)),
    "leaving": Clip(150, (leaving,), cut_out=True),
    "crossing": Clip(120, (passing_behind, passing_before), cut_out=True),
    "turn": Clip(90, (turning,)),
}


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of a clip and its ground truth."""

    image: np.ndarray
    """(HEIGHT, WIDTH, 3) RGB."""
    poses: list[Pose]
    points: np.ndarray
    """(faces, 68, 2) in pixels of the frame."""
    visible: np.ndarray
    """(faces, 68) whether the point is in the frame and not hidden by another person."""


@cache
def backdrop() -> np.ndarray:
    """Return (HEIGHT, WIDTH, 3): the colours of the wall in the photograph, strongly blurred."""
    wall = photograph()[0:120, 310:370].mean(1, keepdims=True).astype(np.float32)
    image = cv2.resize(wall, (WIDTH, HEIGHT)) * np.linspace(1.04, 0.9, WIDTH)[None, :, None]
    return cv2.GaussianBlur(image, (0, 0), 40).astype(np.float32)


@cache
def actors() -> tuple[Portrait, Portrait]:
    """Return the face, and its mirror image in other colours as a second person."""
    return Portrait(), Portrait(mirrored=True, tint=(0.82, 0.72, 0.68))


def render(clip: Clip, number: int, frames: int) -> Shot:
    """Render frame `number` of the clip when it lasts `frames` frames."""
    poses = [pose(number / max(frames - 1, 1)) for pose in clip.faces]
    cast = actors()[: len(poses)][::-1]
    image = backdrop().copy()
    points = np.stack([actor.points(pose) for actor, pose in zip(cast, poses, strict=True)])
    places = np.round(points).astype(int)
    visible = ((points > -0.5) & (points < (WIDTH - 0.5, HEIGHT - 0.5))).all(-1)
    for face, (actor, pose) in enumerate(zip(cast, poses, strict=True)):
        picture, card, person = actor.draw(pose, WIDTH, HEIGHT)
        alpha = person if clip.cut_out else card
        image += alpha[..., None] * (picture - image)
        columns, rows = places[:face].clip(0, (WIDTH - 1, HEIGHT - 1)).transpose(2, 0, 1)
        visible[:face] &= alpha[rows, columns] < 0.5
    if clip.noise:
        image += np.random.default_rng(number).normal(0, clip.noise, image.shape)
    return Shot(np.clip(np.round(image), 0, 255).astype(np.uint8), poses, points, visible)


def voice(loudness: np.ndarray) -> np.ndarray:
    """Return audio samples (samples,) for the loudness 0..1 of each frame: a low tone with overtones over a quiet chord."""
    moments = np.arange(len(loudness) * SOUND_RATE // FPS) / SOUND_RATE
    level = np.interp(moments * FPS, np.arange(len(loudness)), loudness)
    phase = 2 * np.pi * np.cumsum(150 + 30 * level + 6 * np.sin(2 * np.pi * 2.3 * moments)) / SOUND_RATE
    spoken = sum(np.sin(n * phase) / n for n in range(1, 7))
    chord = sum(np.sin(2 * np.pi * pitch * moments) for pitch in (220, 277.18, 329.63))
    return (0.12 * level * spoken + 0.012 * chord).astype(np.float32)


def make_clip(name: str, folder: Path, frames: int | None = None) -> tuple[Path, Path]:
    """Write NAME.mp4 and NAME.csv; a clip with fewer frames than its own plays faster and is complete."""
    clip = CLIPS[name]
    frames = frames or clip.frames
    video_path, truth_path = folder / f"{name}.mp4", folder / f"{name}.csv"
    loudness = np.clip([sum(pose(i / max(frames - 1, 1)).mouth for pose in clip.faces) for i in range(frames)], 0, 1)
    with truth_path.open("w", newline="", encoding="utf-8") as file, av.open(str(video_path), "w") as output:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        video = output.add_stream("libx264", rate=FPS, options={"crf": "21", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = output.add_stream("aac", rate=SOUND_RATE, bit_rate=64000)
        sound.layout = "mono"
        wave_form = av.AudioFrame.from_ndarray(voice(loudness)[None], "fltp", "mono")
        wave_form.sample_rate, wave_form.pts, wave_form.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        output.mux([*sound.encode(wave_form), *sound.encode(None)])
        for i in range(frames):
            shot = render(clip, i, frames)
            picture = av.VideoFrame.from_ndarray(shot.image)
            picture.pts, picture.time_base = i, Fraction(1, FPS)
            output.mux(video.encode(picture))
            for face, (points, visible) in enumerate(zip(shot.points, shot.visible, strict=True)):
                numbers = (f"{value:.2f}" for value in points.ravel())
                table.writerow([i, f"{i / FPS:.6f}", face, f"{visible.mean():.3f}", *numbers])
        output.mux(video.encode(None))
    return video_path, truth_path


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for the clips (default: samples/, and only the sample)"
    )
    parser.add_argument("--clips", help=f"names separated by commas: {', '.join(CLIPS)} (default: all)")
    parser.add_argument("--frames", type=int, help="number of frames of each clip (default: 90 to 270)")
    args = parser.parse_args()
    names = args.clips.split(",") if args.clips else [*CLIPS] if args.output else ["sample"]
    unknown = sorted(set(names) - set(CLIPS))
    if unknown:
        parser.error(f"no clip called {', '.join(unknown)}; there are {', '.join(CLIPS)}")
    folder = args.output or Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        video, _ = make_clip(name, folder, args.frames)
        print(f"{video} ({video.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
