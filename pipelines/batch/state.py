"""State of each video of a batch, kept in a sidecar beside its outputs, so that a second run does only the remaining work.

The sidecar `<outputs>.meta.json` is written twice: with status `working` before the first output is touched, and with `done` or
`failed` after the last one is complete. A run may be killed at any moment: whatever is not `done` is done again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from vtrack._version import __version__
from vtrack.detectors.native import NATIVE_CARD
from vtrack.errors import SourceError
from vtrack.models import card_path
from vtrack.models.card import read_landmark_card
from vtrack.pipelines.batch.files import Video, on_disk
from vtrack.pipelines.batch.jobs import PieceJob
from vtrack.pipelines.batch.store import RemoteStore
from vtrack.pipelines.outputs.base import sidecar_path, write_sidecar
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings, plain
from vtrack.pipelines.sources.images.files import printable

Status = Literal["waiting", "working", "done", "failed"]

_CHUNK = 2**22
"""Bytes of a file that are read at once."""


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """Result of one video: a row of the summary."""

    status: Status
    frames: int = 0
    frames_with_faces: int = 0
    tracks: int = 0
    seconds: float = 0.0
    fps: float = 0.0
    damaged: int = 0
    """Packets of a video, or images, that could not be decoded and were skipped."""
    warnings: str = ""
    error: str = ""


@dataclass(frozen=True)
class Recipe:
    """What is done with each video. Two runs with the same recipe make the same outputs."""

    settings: Settings
    input: InputSettings = InputSettings()
    output: OutputSettings = OutputSettings()

    def __post_init__(self) -> None:
        self.output.check_used()

    def outputs(self, stem: Path) -> dict[str, Path]:
        """The path of each output of a video."""
        return {name: stem.with_name(stem.name + OUTPUTS[name].suffix) for name in self.output.outputs}

    def options(self) -> dict[str, Any]:
        """All that was asked for, as it stands in sidecars and can be read back."""
        return plain(self.settings, self.input, self.output)

    def model(self) -> dict[str, Any]:
        """What the results depend on beside them: the landmark model, the points, the detector's file."""
        model, query = self.settings.model, self.settings.query
        reference = (
            read_landmark_card(card_path(model)).describe(query) if isinstance(model, str) else {"name": model.name}
        )
        points = zip(query.names, query.parts, query.positions, strict=True)
        return {
            **reference,
            "points": [f"{name}: {part}@{at:.6g}" for name, part, at in points],
            "detector_sha256": _detector_digest(self.settings),
        }


class BatchState:
    """Reads and writes the sidecars of a batch.

    Args:
        recipe: What is done with each video; outputs of another recipe are not up to date.
        store: Where the outputs go, if not into the folder that they are written in.
    """

    def __init__(self, recipe: Recipe, store: RemoteStore | None = None) -> None:
        self.recipe = recipe
        self._store = store
        self._options, self._model = recipe.options(), recipe.model()

    def earlier_outcome(self, video: Video, sizes: Mapping[Path, int] | None = None) -> VideoOutcome | None:
        """The outcome of an earlier run with the same recipe on the same video; None if there is work to do.

        Args:
            video: The video.
            sizes: Sizes of all files in the store, if known; querying the store for each video is slow.
        """
        facts = self._read(video) if sizes is None else _read(video)
        counts = facts.get("counts", {})
        if counts.get("status") not in ("done", "failed") or not self._same_recipe(facts):
            return None
        if not _same_source(video, facts.get("source", {})):
            return None
        files = counts.get("files", {})
        size_of = self._size if sizes is None else sizes.get
        if any(size_of(video.outputs.parent / on_disk(name)) != size for name, size in files.items()):
            return None
        names = [field.name for field in fields(VideoOutcome)]
        try:
            # Sidecars of earlier versions do not count the damage.
            return VideoOutcome(**{name: counts[name] for name in names if name != "damaged" or name in counts})
        except KeyError:
            return None

    def owns(self, video: Video) -> bool:
        """Whether existing outputs of a video were written, or begun, by `vtrack batch`."""
        return "status" in self._read(video).get("counts", {})

    def recording_facts(self, piece: PieceJob) -> dict[str, Any]:
        """Everything that determines the recording of a piece."""
        return {
            "vtrack": __version__,
            "options": self._options,
            "model": self._model,
            "source": status_facts(piece.video),
            "bounds": piece.bounds,
        }

    def begin(self, video: Video) -> None:
        """Record that work on a video starts, and remove the outputs of an earlier run."""
        ours = {path.name for path in self.recipe.outputs(video.outputs).values()}
        ours |= set(self._read(video).get("counts", {}).get("files", {}))
        self._write(video, {}, VideoOutcome("working"), dict.fromkeys(sorted(ours)))
        self.discard(video)

    def discard(self, video: Video) -> None:
        """Remove the outputs of unfinished work on a video."""
        counts = _read(video).get("counts", {})
        if counts.get("status") == "working":
            for name in map(on_disk, counts.get("files", {})):
                # A manipulated sidecar must not name files outside the folder or of another video.
                if Path(name).name == name and name.startswith(video.outputs.name + "."):
                    _remove(video.outputs.with_name(name))
                    if self._store:
                        self._store.remove(video.outputs.with_name(name))

    def end(self, video: Video, source: Mapping[str, Any], outcome: VideoOutcome) -> None:
        """Record the outcome of a video."""
        files: dict[str, int | None] = {}
        if outcome.status == "done":
            outputs = self.recipe.outputs(video.outputs).values()
            files = {path.name: _size(path) for path in outputs}
            if self._store:
                for path in outputs:
                    self._store.move(path)
        else:
            self.discard(video)
        self._write(video, source, outcome, files)
        for dots in (".", ".."):  # complete recordings, and temporary files of a worker that died
            for piece in video.outputs.parent.glob(f"{dots}{glob.escape(video.outputs.name)}.piece-*"):
                piece.unlink(missing_ok=True)

    def _write(self, video: Video, source: Mapping[str, Any], outcome: VideoOutcome, files: Mapping[str, Any]) -> None:
        write_sidecar(
            video.outputs,
            options=self._options,
            model=self._model,
            source=source,
            counts={**asdict(outcome), "files": files},
        )
        if self._store:
            self._store.put(sidecar_path(video.outputs))

    def _read(self, video: Video) -> dict[str, Any]:
        if self._store:
            self._store.fetch(sidecar_path(video.outputs))
        return _read(video)

    def _size(self, path: Path) -> int | None:
        return self._store.size(path) if self._store else _size(path)

    def _same_recipe(self, facts: Mapping[str, Any]) -> bool:
        return bool(facts.get("options") == self._options and facts.get("model") == self._model)


def fail(outcome: VideoOutcome, error: str) -> VideoOutcome:
    """The outcome as failed, with the error on one line."""
    return replace(outcome, status="failed", error=" ".join(error.split()))


def source_facts(video: Video, alive: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Size, modification time and SHA-256 of a file; empty for an address.

    Args:
        video: The video.
        alive: Called after each part of the file is read, to show progress.

    Raises:
        SourceError: The file cannot be read.
    """
    if not video.is_file:
        return {}
    facts, digest = status_facts(video), hashlib.sha256()
    for path in video.files:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                continue
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    alive()
        except FileNotFoundError as error:
            raise SourceError(f"{path}: no such file or folder") from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    return {**facts, "sha256": digest.hexdigest()}


def status_facts(video: Video) -> dict[str, Any]:
    """Size and modification time of a file, of images together and with their names; empty if one is missing, and for an
    address."""
    try:
        statuses = [path.stat() for path in video.files]
    except OSError:
        statuses = []
    if not statuses:
        return {}
    facts = {
        "size": sum(status.st_size for status in statuses),
        "mtime_ns": max(status.st_mtime_ns for status in statuses),
    }
    return {**facts, "images": [printable(name) for name in video.images]} if video.images else facts


def unchanged(video: Video, facts: Mapping[str, Any]) -> bool:
    """Whether a file still has the size and modification time that `source_facts` returned."""
    return all(facts.get(name) == value for name, value in status_facts(video).items())


def _same_source(video: Video, facts: Mapping[str, Any]) -> bool:
    """Whether a source is the same as before; a file that was only touched or copied has the same SHA-256."""
    if unchanged(video, facts):
        return True
    now = status_facts(video)
    if any(now.get(name) != facts.get(name) for name in ("size", "images")):
        return False
    return source_facts(video)["sha256"] == facts.get("sha256")


def _read(video: Video) -> dict[str, Any]:
    """The video's sidecar; empty if there is none or it cannot be read."""
    try:
        facts = json.loads(sidecar_path(video.outputs).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and isinstance(facts.get("counts", {}), dict) else {}


def _size(path: Path) -> int | None:
    """Bytes of a file, or of the files of a folder; None if it is absent."""
    try:
        if path.is_dir():
            return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
        return path.stat().st_size
    except OSError:
        return None


def _remove(path: Path) -> None:
    """Remove an output, a file or a folder of files."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _detector_digest(settings: Settings) -> str | None:
    """What the detector is read from; None where its name says all."""
    path = settings.detector_model
    if path is None and settings.detector in ("auto", "native"):
        path = NATIVE_CARD
    if path is None or not Path(path).is_file():
        return None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
