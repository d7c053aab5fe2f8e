"""One video followed by several processes: the results are those of one process, also where the work ends early."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import damage, write_clip
from tests.pipelines.batch.batching import QUERY, killer
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.cli.main import USAGE, main
from vtrack.errors import UsageError
from vtrack.pipelines.batch.parallel import ParallelPipeline
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.run import run
from vtrack.pipelines.settings import InputSettings, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import FrameResult

FRAMES, RATE, SIZE = 400, 5, (160, 120)
TOYS = Settings(QUERY, model=ToyModel(), detector=ToyDetector())
PIECE = 16.0
"""Least seconds of a piece: the clip of 80 seconds has five."""


def scene(i: int) -> list[ToyFace]:
    """Two faces, one of which comes and goes."""
    return [ToyFace((50 + 0.05 * i, 60), 44, angle=0.1), *[ToyFace((120, 60), 40, blue=120)] * (90 <= i < 250)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return write_clip(path, FRAMES, SIZE, rate=RATE, gop=30, audio=1, draw=painter(scene))


def parallel(workers: int = 2, settings: Settings = TOYS, **changes: Any) -> ParallelPipeline:
    return ParallelPipeline(settings, InputSettings(), workers, min_length=PIECE, **changes)


def shown(results: Iterable[FrameResult]) -> list[tuple[Any, ...]]:
    """All that results say of their frames and faces, pixels too."""
    return [
        (
            *(each.index, each.frame.pts, int(each.frame.image.sum())),
            *[(face.id, face.points.tobytes(), face.sigma.tobytes(), face.presence) for face in each.faces],
        )
        for each in results
    ]


@pytest.fixture(scope="module")
def whole(clip: Path) -> list[tuple[Any, ...]]:
    with open_source(clip) as source:
        return shown(Pipeline(TOYS).results(source))


def test_pieces_make_the_results_of_the_whole(clip: Path, whole: list[tuple[Any, ...]]) -> None:
    shares: list[float] = []
    pipeline = parallel(watch_share=shares.append)
    with open_source(clip) as source:
        assert shown(pipeline.results(source)) == whole
    assert len({face[0] for _, _, _, *faces in whole for face in faces}) == 2
    assert len(whole) == FRAMES and shares[-1] == 1.0 and np.all(np.diff(shares) >= 0)
    assert "alone" not in vars(pipeline)  # nothing was followed here


def test_an_interrupt_keeps_the_pieces_before_the_first_unfinished_one(clip: Path) -> None:
    raw = replace(TOYS, smooth="none")  # smoothing looks ahead, to frames that are not followed yet
    with open_source(clip) as source:
        whole = shown(Pipeline(raw).results(source))
    stop = threading.Event()
    pipeline = parallel(settings=raw, watch_share=lambda share: stop.set() if share >= 0.7 else None)
    with open_source(clip) as source:
        kept = shown(pipeline.results(source, stop=stop))
    assert len(kept) in range(0, FRAMES, int(PIECE * RATE)) and kept == whole[: len(kept)]
    assert "alone" not in vars(pipeline)


def test_an_interrupt_while_outputs_are_written_ends_them(clip: Path) -> None:
    stop, written = threading.Event(), 0
    with open_source(clip) as source:
        for _ in parallel().results(source, stop=stop):
            written += 1
            if written == 20:
                stop.set()
    assert 20 <= written < FRAMES


def test_damage_is_left_to_one_process(clip: Path, tmp_path: Path) -> None:
    broken = damage(Path(shutil.copy(clip, tmp_path / "broken.mp4")), [200, 201])
    with open_source(broken) as source:
        alone = shown(Pipeline(TOYS).results(source))
    pipeline = parallel()
    with open_source(broken) as source:
        assert shown(pipeline.results(source)) == alone
    assert "alone" in vars(pipeline)


def test_a_lost_worker_is_told_and_its_work_done_by_one_process(
    clip: Path, whole: list[tuple[Any, ...]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = parallel(settings=replace(TOYS, detector=killer(tmp_path / "marker", SIZE[0])))
    with open_source(clip) as source:
        assert shown(pipeline.results(source)) == whole
    assert "long.mp4: one process finds its faces anew: its worker was killed by SIGKILL" in caplog.text


class DeadlyDetector(ToyDetector):
    """Kills the process that it is copied to."""

    def __setstate__(self, state: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_one_process_does_it_where_workers_cannot_start(
    clip: Path, whole: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(clip) as source:
        assert shown(parallel(settings=replace(TOYS, detector=DeadlyDetector())).results(source)) == whole
    assert "long.mp4: one process finds its faces: workers could not start: its worker was killed" in caplog.text


def test_one_process_does_it_where_no_temporary_files_can_be_written(
    clip: Path, whole: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with open_source(clip) as source:
        assert shown(parallel().results(source)) == whole
    assert "no folder for temporary files" in caplog.text


def test_what_cannot_be_cut_is_done_by_one_process(clip: Path) -> None:
    for source in (open_source(clip, stop=20), open_source([np.zeros((120, 160, 3), np.uint8)] * 3)):
        pipeline = parallel()
        with source:
            assert len(shown(pipeline.results(source))) in (3, 20 * RATE)
        assert "alone" in vars(pipeline)


def test_files_are_the_same_to_the_byte(clip: Path, tmp_path: Path) -> None:
    outputs = {}
    for workers in (1, 2):
        table, video = tmp_path / f"{workers}.csv", tmp_path / f"{workers}.mp4"
        summary = run(clip, QUERY, model=ToyModel(), detector=ToyDetector(), csv=table, video=video, workers=workers)
        assert (summary.frames, summary.tracks) == (FRAMES, 2)
        outputs[workers] = table.read_bytes(), video.read_bytes()
    assert outputs[1] == outputs[2]


def test_what_workers_cannot_be_given_is_said() -> None:
    with pytest.raises(UsageError, match="workers must be at least 1"):
        parallel(0)
    with pytest.raises(UsageError, match="cannot be pickled"):
        ParallelPipeline(Settings(QUERY, detector=lambda images: []), InputSettings(), 2)


@pytest.mark.parametrize(
    ("number", "said"), [("many", "a number or auto, not 'many'"), ("0", "must be at least 1 or auto")]
)
def test_a_wrong_number_of_workers_is_one_line(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str, said: str
) -> None:
    assert main(["run", str(clip), "-o", str(tmp_path), "--workers", number]) == USAGE
    assert (text := capsys.readouterr().err).count("\n") == 1 and said in text
