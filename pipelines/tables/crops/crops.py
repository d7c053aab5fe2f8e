"""`crop_table`: aligned crops of the faces of a table, as pictures or as a video of each face, with their matrices."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vtrack.errors import UsageError, spelled
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.pipelines.outputs.base import ExceptionType, sidecar_path, write_sidecar
from vtrack.pipelines.outputs.files import remove_stale, text_file
from vtrack.pipelines.outputs.paths import make_folder
from vtrack.pipelines.outputs.pictures import write_picture
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.settings import CropSettings, OutputSettings, Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.crops.alignment import Alignment, FaceAligner, frame_to_crop
from vtrack.pipelines.tables.fit import check_frame, check_size, misfit
from vtrack.pipelines.tables.targets import named_after
from vtrack.runtime.threads import interruptible
from vtrack.types import Frame, FrameResult, ImageArray, Query

MATRICES = "crops.csv"
"""The file with the matrix of each crop."""
_COLUMNS = "frame,time_s,face,aligned,m00,m01,m02,m10,m11,m12,file"
_OWN = re.compile(r"face-\d+/\d{6}\.(png|jpg)|face-\d+\.mp4")
"""Names below the folder that crops have."""
_CROP_FIELDS = ("centers", "sides", "angles")
_NO_POINTS = Query((), ())


@dataclass(frozen=True, slots=True)
class CropCounts:
    """What was written."""

    folder: Path
    faces: int
    """Faces, counted by their ids."""
    crops: int
    unaligned: int
    """Crops of faces that lack the points, at the place of the crop before; in videos alone."""


@dataclass(slots=True)
class _Span:
    """What the table says of one face as a whole."""

    first: int
    last: int
    start: float
    end: float
    log_scale: float = 0.0
    aligned: int = 0

    @property
    def scale(self) -> float:
        """Geometric mean of the scales."""
        return math.exp(self.log_scale / self.aligned)


def crop_table(
    table: str | Path,
    video: str,
    folder: str | Path | None = None,
    *,
    settings: CropSettings | None = None,
    look: OutputSettings | None = None,
    selection: Selection | None = None,
    faces: tuple[int, ...] = (),
    parts: str = "",
    overwrite: bool = False,
    progress: Callable[[Source], Callable[[FrameResult], object]] | None = None,
) -> CropCounts:
    """Cut the faces of a table out of its video, each upright and at one place.

    The table is read twice: for the length and scale of each face, and with the video. What is in memory grows with the
    number of faces alone.

    Args:
        table: The table, as `read_table` takes it.
        video: What it was made of: a video, photographs or a folder of images.
        folder: Folder to write into; None for one beside the table.
        settings: What is aligned, and what is written.
        look: How videos are compressed.
        selection: Which frames of the table; all by default.
        faces: Ids of the faces; all by default.
        parts: What the points are, if the facts beside the table do not tell.
        overwrite: Whether crops that are in the folder are replaced.
        progress: Makes of the opened source what is called with each result.

    Raises:
        UsageError: An argument is invalid, the folder has crops already, or the table is not of this video.
        SourceError: The video cannot be read.
        SinkError: The crops cannot be written.

    Example:
        crop_table("talk.vtrack.csv", "talk.mp4", settings=CropSettings(size=512))
    """
    settings, chosen = settings or CropSettings(), selection or Selection()
    target = named_after(Path(table), ".crops") if folder is None else Path(folder)
    _check_folder(target, overwrite=overwrite)
    results = TableResults(table, parts=parts, untimed=True)
    aligner = FaceAligner(results.query, settings)
    spans = _spans(_selected(results, chosen), aligner, faces)
    if missing := [face for face in faces if face not in spans]:
        raise UsageError(f"{table} has no face {missing[0]} in these frames")
    if not spans:
        raise UsageError(f"{table} has no face in these frames that can be aligned")
    results = TableResults(table, parts=parts, untimed=True)
    # A little earlier, since times in tables are rounded.
    start = max(min(span.start for span in spans.values()) - 0.1, 0.0) if results.table.timed else 0.0
    with open_source(video, start=start or None) as source:
        if settings.video and source.info.photographs:
            raise UsageError(f"{spelled('video')} applies to films only, and {video} is photographs")
        if not source.info.photographs:
            check_size(results, source)
        make_folder(target)
        remove_stale(target, recursive=True)
        report = progress(source) if progress is not None else lambda result: None
        for path in _crops_in(target):
            path.unlink()
        last = max(span.last for span in spans.values())
        with (
            interruptible() as stop,
            text_file(target / MATRICES) as write,
            _CropWriter(target, aligner, settings, look or OutputSettings(), spans, source, write) as writer,
        ):
            write(f"{_COLUMNS}\n")
            for result in _with_frames(_selected(results, chosen), results, source, last, stop):
                writer.write(result)
                report(result)
    facts = {**asdict(settings), "eye_corners": aligner.eye_corners(settings.size), "table": str(table)}
    width, height = source.info.size
    counts = {"faces": len(spans), "crops": writer.crops, "unaligned": writer.unaligned}
    write_sidecar(
        target / MATRICES,
        options=facts,
        model={},
        source={"name": source.info.name, "width": width, "height": height},
        counts=counts,
    )
    return CropCounts(target, len(spans), writer.crops, writer.unaligned)


class _CropWriter:
    """Writes the crops of results, and the matrix of each."""

    def __init__(
        self,
        folder: Path,
        aligner: FaceAligner,
        settings: CropSettings,
        look: OutputSettings,
        spans: dict[int, _Span],
        source: Source,
        write: Callable[[str], None],
    ) -> None:
        self._folder, self._aligner, self._settings, self._look = folder, aligner, settings, look
        self._spans, self._source = spans, source
        self._held: dict[int, Crops] = {}
        self._videos: dict[int, tuple[ExitStack, VideoSink]] = {}
        self._write_matrix = write
        self.crops = self.unaligned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        for face in [*self._videos]:
            stack, _ = self._videos.pop(face)
            stack.__exit__(kind, error, trace)

    def write(self, result: FrameResult) -> None:
        """Write the crops of one frame."""
        there = {face.id: face for face in result.faces if face.id in self._spans}
        wanted = [*there] if not self._settings.video else [
            number for number, span in self._spans.items() if span.first <= result.index <= span.last
        ]  # fmt: skip
        alignments = {
            number: self._aligner.align(there[number].points) if number in there else None for number in wanted
        }
        crops = {number: self._crop(number, alignment) for number, alignment in alignments.items()}
        known = {number: crop for number, crop in crops.items() if crop is not None}
        if not known:
            return
        size = self._settings.size
        all_crops = Crops(*(np.concatenate([getattr(crop, name) for crop in known.values()]) for name in _CROP_FIELDS))
        images = warp([result.frame.pixels], [0] * len(known), all_crops, size).transpose(0, 2, 3, 1)
        for (number, crop), image in zip(known.items(), images, strict=True):
            file = self._write(number, result.frame, np.ascontiguousarray(image))
            aligned = alignments[number] is not None
            self.crops += 1
            self.unaligned += not aligned
            matrix = ",".join(f"{cell:.9g}" for cell in frame_to_crop(crop, size).ravel())
            self._write_matrix(f"{result.index},{result.time:.6f},{number},{aligned:d},{matrix},{file}\n")

    def _crop(self, number: int, alignment: Alignment | None) -> Crops | None:
        """The crop of a face; in a video, that of the frame before where it cannot be aligned."""
        if alignment is None:
            return self._held.get(number) if self._settings.video else None
        if self._settings.constant_scale:
            alignment = alignment.scaled(self._spans[number].scale)
        crop = self._aligner.crop(alignment)
        if self._settings.video:
            self._held[number] = crop
        return crop

    def _write(self, number: int, frame: Frame, image: ImageArray) -> str:
        """Write one crop; return the name of its file below the folder."""
        if not self._settings.video:
            name = f"face-{number}/{frame.index:06}.{self._settings.picture_format}"
            write_picture(self._folder / name, image)
            return name
        name = f"face-{number}.mp4"
        if number not in self._videos:
            stack, video = ExitStack(), self._open_video(name, self._spans[number])
            stack.enter_context(video)
            self._videos[number] = stack, video
        self._videos[number][1].write(FrameResult(replace(frame, pixels=image), (), _NO_POINTS))
        if frame.index >= self._spans[number].last:
            stack, _ = self._videos.pop(number)
            stack.close()
            self._held.pop(number, None)
        return name

    def _open_video(self, name: str, span: _Span) -> VideoSink:
        """The video of a face, with the sound of its frames."""
        info, rate = self._source.info, float(self._source.info.average_rate or 25)
        return VideoSink(
            self._folder / name,
            source=None if info.is_live else info.path,
            start=span.start,
            stop=span.end + 1 / rate,
            rate=info.average_rate,
            codec=self._look.codec,
            crf=self._look.crf,
            preset=self._look.preset,
        )


def _spans(results: Iterator[FrameResult], aligner: FaceAligner, faces: tuple[int, ...]) -> dict[int, _Span]:
    """First and last frame and mean scale of each face that can be aligned."""
    spans: dict[int, _Span] = {}
    for result in results:
        for face in result.faces:
            if (faces and face.id not in faces) or (alignment := aligner.align(face.points)) is None:
                continue
            span = spans.setdefault(face.id, _Span(result.index, result.index, result.time, result.time))
            span.last, span.end = result.index, result.time
            span.log_scale += math.log(abs(alignment.factor))
            span.aligned += 1
    return spans


def _selected(results: TableResults, selection: Selection) -> Iterator[FrameResult]:
    """The frames of a table with `start <= time < stop`, every n-th of them."""
    place = 0
    for result in results:
        if selection.stop is not None and result.time >= selection.stop:
            return
        if selection.start is None or result.time >= selection.start:
            if place % selection.every == 0:
                yield result
            place += 1


def _with_frames(
    rows: Iterator[FrameResult], results: TableResults, source: Source, last: int, stop: threading.Event
) -> Iterator[FrameResult]:
    """Yield the results of a table with the pictures of its video, up to a frame."""
    table, row = results.table, next(rows, None)
    for frame in source:
        if stop.is_set():
            raise KeyboardInterrupt
        while row is not None and row.index < frame.index:
            if row.faces:
                raise misfit(table.path, source, f"the video has no frame {row.index}")
            row = next(rows, None)
        if row is None or row.index > last:
            return
        if row.index > frame.index:
            continue
        check_frame(table.path, source, frame, row.time if table.timed else None, row.frame.file)
        yield replace(row, frame=frame)
        row = next(rows, None)
    if row is not None and row.index <= last:
        raise misfit(table.path, source, f"the video has no frame {row.index}")


def _crops_in(folder: Path) -> list[Path]:
    """Crops of an earlier run that a folder has, and their matrices."""
    paths = [*folder.glob("face-*/*"), *folder.glob("face-*.mp4")]
    found = sorted(path for path in paths if _OWN.fullmatch(path.relative_to(folder).as_posix()) and path.is_file())
    sidecars = (folder / MATRICES, sidecar_path(folder / MATRICES))
    return [*found, *(path for path in sidecars if path.is_file())]


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` if crops cannot go into a folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot write crops into {folder}: it is a file; give a folder")
    if not overwrite and (found := _crops_in(folder)):
        raise UsageError(f"{found[0]} exists already; add {spelled('overwrite', True)} or choose another folder")
    if not folder.parent.is_dir():
        raise UsageError(f"cannot write {folder}: there is no folder {folder.parent}; create it first")
