"""`run`: one source in, tables and an annotated video out, as the command line does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.base import check_outputs, write_sidecar
from vtrack.pipelines.outputs.files import remove_stale
from vtrack.pipelines.outputs.open import make_sinks, needs_pixels
from vtrack.pipelines.outputs.paths import make_folder, output_paths
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.pipeline import LostOutputError, Pipeline, Summary, send
from vtrack.pipelines.registry import CSV_FORMATS, OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings, drawable, plain
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import Readable
from vtrack.pipelines.tracker import Finder, Model, Parts, check_models, checked, open_checked
from vtrack.runtime.threads import interruptible
from vtrack.types import FrameResult

if TYPE_CHECKING:
    from vtrack.pipelines.batch.parallel import ParallelPipeline

Output = str | Path | bool | None
"""A path; `-` for stdout; True for one beside the source; False or None for no such output."""


def run(
    source: Readable,
    parts: Parts | None = None,
    *,
    csv: Output = None,
    jsonl: Output = None,
    parquet: Output = None,
    events: Output = None,
    video: Output = None,
    pictures: Output = None,
    outputs: Mapping[str, Output] | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    format: str = OutputSettings.format,
    columns: Sequence[str] = OutputSettings.columns,
    draw: Sequence[str] = OutputSettings.draw,
    codec: str = OutputSettings.codec,
    crf: int | None = OutputSettings.crf,
    preset: str = OutputSettings.preset,
    start: float | None = InputSettings.start,
    stop: float | None = InputSettings.stop,
    every: int = InputSettings.every,
    fps: float | None = None,
    times: Iterable[float] | None = None,
    hwaccel: str = InputSettings.hwaccel,
    images: str = InputSettings.images,
    max_pixels: int = InputSettings.max_pixels,
    model: Model = Settings.model,
    detector: Finder = Settings.detector,
    detector_model: str | Path | None = Settings.detector_model,
    detect_size: int | None = Settings.detect_size,
    small_faces: bool = Settings.small_faces,
    confidence: float | None = Settings.confidence,
    detect_every: float = Settings.detect_every,
    max_faces: int | None = Settings.max_faces,
    device: str = Settings.device,
    engine: str = Settings.engine,
    smooth: str = Settings.smooth,
    strength: float = Settings.strength,
    strengths: Mapping[str, float] | None = None,
    measures: bool = Settings.measures,
    pose: bool = Settings.pose,
    points3d: bool = Settings.points3d,
    fov: float | None = Settings.fov,
    pose_unit: str = Settings.pose_unit,
    eye_distance: float | None = Settings.eye_distance,
    expressions: bool = Settings.expressions,
    neutral: float | None = Settings.neutral,
    workers: int | None = 1,
) -> Summary:
    """Track faces through a source and write tables and an annotated video, as `vtrack run` does.

    Beside the first output goes `<output>.meta.json`: version, options, model and facts of the source. Ctrl-C keeps what was
    done until then.

    Args:
        source: What to read; see `track`. A camera has no end: use `track` for it.
        parts: Points to track; see `track`. By default the whole face, or with `format="openface"` its 68 points.
        csv: Path of a CSV table; True for `<source>.vtrack.csv` beside the source; `-` for stdout. It is written unless
            there is another table.
        jsonl: Path of JSON lines, one frame a line; True for `<source>.vtrack.jsonl`; `-` for stdout.
        parquet: Path of a Parquet table; True for `<source>.vtrack.parquet`.
        events: Path of a table of blinks, winks, squints and closures, `.csv` or `.jsonl`; True for
            `<source>.vtrack.events.csv`; `-` for stdout. Faces are measured for it.
        video: Path of an annotated video with the source's sound; True for `<source>.vtrack.mp4`.
        outputs: The same by name, also for kinds of output that have no argument of their own: `{"csv": "eyes.csv"}`.
        pictures: Folder of annotated pictures, an image file for each photograph or frame; True for `<source>.vtrack.pictures`.
        output: Folder for outputs without a path; made if absent.
        overwrite: Replace outputs that exist.
        format: Form of the CSV table: `wide`, `long`, `openface`, `dlc`.
        columns: Groups of extra columns: `raw`, `inside`, `hidden`, `measures`, `pose`, `points3d`, `expressions`.
        draw: What video and pictures show: `points`, `curves`, `wireframe`, `boxes`, `ids`, `axes`, `expressions`, `black`.
        codec: Of the video: `h264`, `hevc`.
        crf: Quality of the video, 0 (best) to 51 (smallest).
        preset: Effort of the video encoder, `ultrafast` to `veryslow`.
        start: First time to read, in seconds on the source's own clock.
        stop: End in seconds, excluded.
        every: Read every n-th frame.
        fps: Frames per second of images, 25 by default.
        times: Seconds of the images of an array, list or generator, instead of `fps`.
        hwaccel: Hardware video decoder: `cuda`, `qsv`, `videotoolbox`, ...
        images: What the images of a folder, pattern or list are: `photographs`, each by itself, a film's `sequence`, or
            `auto`: a sequence if they are numbered and of one size.
        max_pixels: Largest number of pixels of an image file or video frame; larger ones are refused.
        model: Landmark model; see `track`.
        detector: Face detector; see `track`.
        detector_model: File that the detector is read from.
        detect_size: Longer side in pixels of the picture that is searched for faces.
        small_faces: Search larger pictures, for small and far faces.
        confidence: Leave out faces whose detector score or presence is below this, 0.01 to 0.99; by default the detector has
            its own score, and a face is followed while its presence is at least 0.3.
        detect_every: Seconds between detections, 0 (every frame) to 1.
        max_faces: Keep at most this many faces, the largest.
        device: What the models run on: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        engine: What runs the landmark model: `auto`, `torch`, `onnx`, `int8`, `bf16`.
        smooth: `rts` (looks ahead, no lag), `kalman`, `one-euro`, or `none`.
        strength: Strength of smoothing, 0 (hardly any) to 1 (very much).
        strengths: Strength for single parts, groups or the `head`: `{"lips": 0.2}`.
        measures: Whether to write eye opening, blinks, mouth, brows, smile and head turn; the same as in `columns`.
        pose: Whether to write place and turn of each head in space; the same as in `columns`.
        points3d: Whether to write where each point is in space; the same as in `columns`.
        fov: Angle of view of the camera along the longer side of the frame in degrees, 5 to 150; by default most cameras' is
            assumed.
        pose_unit: Unit of places in space: `eyes`, distances between the outer corners of the eyes, or `mm`.
        eye_distance: Distance between the outer corners of the eyes in mm, 50 to 130; by default that of adults, for `mm`.
        expressions: Whether to write blend shapes and proxies of action units; the same as in `columns`.
        neutral: Time in seconds at which faces are neutral; by default that is found out.
        workers: Processes that find faces in pieces of a video file that is a minute long or more; None for one per core.
            The outputs are the same. A program that uses them needs `if __name__ == "__main__":` around what it does.

    Returns:
        What was done: frames, tracks, seconds.

    Raises:
        UsageError: An argument is invalid or does not apply.
        SourceError: The source does not exist or cannot be read.
        SinkError: An output exists already, or cannot be written; the others are, and the message names them.
        ModelError: The model does not exist.

    Examples:
        >>> import vtrack
        >>> summary = vtrack.run("samples/sample.mp4", parts="eyes", stop=0.5, csv="eyes.csv", video="eyes.mp4")
        >>> summary.frames, summary.tracks
        (15, 1)
        >>> vtrack.read_table("eyes.csv").to_numpy().shape
        (15, 1, 16, 2)
    """
    if parts is None:
        table = CSV_FORMATS.get(format) if isinstance(format, str) else None
        parts = (table and table.parts) or Settings.parts
    asked = {"measures": measures, "pose": pose, "points3d": points3d, "expressions": expressions}
    columns = (*([columns] if isinstance(columns, str) else columns), *(name for name in asked if asked[name]))
    tables = {"csv": csv, "jsonl": jsonl, "parquet": parquet, "events": events}
    arguments = {**tables, "video": video, "pictures": pictures}
    given = {**arguments, **(outputs or {})}
    wanted = tuple(name for name, path in given.items() if path not in (None, False))
    settings = checked(
        parts,
        model=model,
        detector=detector,
        detector_model=detector_model,
        detect_size=detect_size,
        small_faces=small_faces,
        confidence=confidence,
        detect_every=detect_every,
        max_faces=max_faces,
        device=device,
        engine=engine,
        smooth=smooth,
        strength=strength,
        strengths=strengths,
        measures="measures" in columns or any(OUTPUTS[name].measures for name in wanted if name in OUTPUTS),
        pose="pose" in columns,
        points3d="points3d" in columns,
        fov=fov,
        pose_unit=pose_unit,
        eye_distance=eye_distance,
        expressions="expressions" in columns,
        neutral=neutral,
    )
    if twice := [name for name in outputs or () if arguments.get(name) not in (None, False)]:
        raise UsageError(f"{twice[0]} is given twice, by itself and in outputs; give one of them")
    look = OutputSettings(
        outputs=wanted,
        format=format,
        columns=columns,
        draw=draw,
        codec=codec,
        crf=crf,
        preset=preset,
    )
    look = look.with_table().check_used()
    inputs = InputSettings(
        start=start,
        stop=stop,
        every=every,
        fps=fps or InputSettings.fps,
        hwaccel=hwaccel,
        images=images,
        max_pixels=max_pixels,
    )
    chosen = {
        **{"start": start, "stop": stop, "every": every, "fps": fps, "times": times},
        **{"hwaccel": hwaccel, "images": images, "max_pixels": max_pixels},
    }
    with open_checked(source, chosen) as opened:
        places = {name: path if isinstance(path := given.get(name), str | Path) else None for name in look.outputs}
        paths = output_paths(places, opened.info.path if isinstance(source, Source) else source, output)
        folder = None if output is None else Path(output)
        summary, _ = record(settings, inputs, look, opened, paths, folder=folder, overwrite=overwrite, workers=workers)
    if summary.interrupted:
        raise KeyboardInterrupt
    return summary


def record(
    settings: Settings,
    inputs: InputSettings,
    look: OutputSettings,
    source: Source,
    paths: Mapping[str, Path],
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[FrameResult], object] = lambda result: None,
    workers: int | None = 1,
    watch_share: Callable[[float], object] = lambda share: None,
) -> tuple[Summary, Pipeline | ParallelPipeline]:
    """Track an opened source, write its outputs and the facts beside the first file.

    If an output fails, the others are finished before its error is raised.

    All options are checked before outputs are looked for on the disk: who has mistyped one need not add `overwrite` first.

    Args:
        settings: What to track and how.
        inputs: Which frames are read; for the facts.
        look: What is written, and how it looks.
        source: An opened source.
        paths: The path of each output.
        folder: A folder to make, if it is absent.
        overwrite: Whether outputs that exist are replaced.
        progress: Called with the result of each frame.
        workers: Processes that find faces in pieces of a long video; None for one per core.
        watch_share: Called with the share of the video, from 0 to 1, that these have followed.

    Returns:
        What was done, and what did it.
    """
    check_models(settings, look.columns)
    sinks = make_sinks(paths, look, settings.query, source, max_faces=settings.max_faces, overwrite=overwrite)
    if folder is not None:
        make_folder(folder)
    files = [path for name, path in paths.items() if not OUTPUTS[name].folder]
    check_outputs(files, source=source.info.path or None, overwrite=overwrite)
    if folders := [path for name, path in paths.items() if OUTPUTS[name].folder]:
        from vtrack.pipelines.outputs.pictures import check_picture_folder  # imports all that draws

        for pictures in folders:
            check_picture_folder(pictures, source, overwrite=overwrite)
    for place in {path.parent for path in paths.values() if path != STDOUT}:
        remove_stale(place)
    maker = _maker(drawable(settings, look), inputs, workers, watch_share)
    saved, failure = list(paths.values()), None
    try:
        with interruptible() as stop:
            summary = send(maker, source, sinks, stop=stop, progress=progress, pixels=needs_pixels(paths))
    except LostOutputError as error:
        summary, saved, failure = error.summary, list(error.saved), error
    for output in [path for path in saved if path != STDOUT][:1]:
        write_sidecar(
            output,
            options=plain(settings, inputs, look),
            model=maker.card,
            source=asdict(source.info),
            counts=asdict(summary),
        )
    if failure is not None:
        raise failure
    return summary, maker


def _maker(
    settings: Settings, inputs: InputSettings, workers: int | None, watch_share: Callable[[float], object]
) -> Pipeline | ParallelPipeline:
    if workers == 1:
        return Pipeline(settings)
    # Imported late: who has one worker need not wait for the modules of batches.
    from vtrack.pipelines.batch.parallel import ParallelPipeline

    return ParallelPipeline(settings, inputs, workers, watch_share=watch_share)
