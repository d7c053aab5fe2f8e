"""`run`: the files of the command line, from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import write_clip
from tests.pipelines.test_pipeline import QUERY, scene
from tests.pipelines.test_results import COUNT, images
from tests.pipelines.toys import ToyDetector, ToyModel, painter
from vtrack.cli.main import USAGE, main
from vtrack.errors import SinkError, SourceError, UsageError
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.pipeline import Summary
from vtrack.pipelines.run import run
from vtrack.pipelines.sources.open import open_source

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "toys.mp4", COUNT, (240, 180), audio=1, draw=painter(lambda i: scene(i + 10)))


def toys(source: Any, **changes: Any) -> Summary:
    return run(source, QUERY, **{"model": ToyModel(), "detector": ToyDetector(), **changes})


def test_the_same_files_as_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    options = [
        "--parts",
        "eyes",
        "--columns",
        "raw,measures",
        "--stop",
        "0.5",
        "--quiet",
        "-o",
        str(tmp_path / "theirs"),
    ]
    assert main(["run", str(SAMPLE), *options, "--csv", "--jsonl"]) == 0
    summary = run(
        SAMPLE, "eyes", columns=["raw", "measures"], stop=0.5, csv=True, jsonl=tmp_path / "mine" / "lines.jsonl",
        output=tmp_path / "mine",
    )  # fmt: skip
    for mine, theirs in (("sample.vtrack.csv", "sample.vtrack.csv"), ("lines.jsonl", "sample.vtrack.jsonl")):
        assert (tmp_path / "mine" / mine).read_bytes() == (tmp_path / "theirs" / theirs).read_bytes()
    facts = json.loads((tmp_path / "mine" / "sample.vtrack.csv.meta.json").read_text())
    assert facts["options"]["parts"] == "eyes" and facts["counts"]["frames"] == summary.frames == 15
    assert facts["source"]["name"] == "sample.mp4" and facts["options"]["columns"] == ["raw", "measures"]
    assert repr(summary).startswith("Summary(15 frames, 15 with faces, 1 track, ")


def test_a_table_beside_the_source_unless_told_otherwise(clip: Path) -> None:
    toys(clip)
    table = read_table(clip.with_name("toys.vtrack.csv"))
    assert len(table) == COUNT and table.names == QUERY.names and table.query == QUERY


def test_a_video_keeps_its_sound(clip: Path, tmp_path: Path) -> None:
    summary = toys(clip, video=True, csv=str(tmp_path / "table.csv"))
    assert summary.frames == COUNT
    with av.open(str(tmp_path / "toys.vtrack.mp4")) as film:
        assert len(film.streams.audio) == 1 and film.streams.video[0].frames == COUNT


def test_frames_in_memory(tmp_path: Path) -> None:
    toys(images(), fps=50, csv=tmp_path / "a.csv", video=tmp_path / "a.mp4", measures=True)
    table = read_table(tmp_path / "a.csv")
    assert table.times[-1] == pytest.approx((COUNT - 1) / 50) and table.to_numpy("blink").shape == (COUNT, 1)
    with open_source(tmp_path / "a.mp4") as film:
        assert [frame.time for frame in film] == pytest.approx(table.times)
    with pytest.raises(UsageError, match="csv needs a path: frames in memory have no file"):
        toys(images())


def test_nothing_is_replaced_unless_allowed(clip: Path, tmp_path: Path) -> None:
    toys(clip)
    before = (tmp_path / "toys.vtrack.csv").read_bytes()
    with pytest.raises(SinkError, match=r"exists already; add overwrite=True"):
        toys(clip, stop=0.2)
    assert (tmp_path / "toys.vtrack.csv").read_bytes() == before
    toys(clip, stop=0.2, overwrite=True)
    assert len(read_table(tmp_path / "toys.vtrack.csv")) == 5
    with pytest.raises(UsageError, match="is the input itself"):
        toys(clip, video=clip, overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"crf": 20}, UsageError, "crf"),
        ({"format": "long", "parquet": True}, UsageError, "format"),
        ({"format": "tall"}, UsageError, "tall"),
        ({"columns": ["rw"]}, UsageError, "rw"),
        ({"draw": "hats", "video": True}, UsageError, "hats"),
        ({"csv": "absent/a.csv"}, SinkError, "there is no folder absent"),
        ({"csv": "a.parquet"}, UsageError, r'csv="a.parquet": .parquet is not an ending .*; use parquet="a.parquet"'),
        (
            {"video": "-"},
            UsageError,
            r'video="-": an annotated video cannot be written to stdout; use csv="-" or jsonl',
        ),
        ({"csv": "a.csv", "outputs": {"csv": "b.csv"}}, UsageError, "csv is given twice, by itself and in outputs"),
        ({"outputs": {"word": "a.docx"}}, UsageError, "there is no output 'word'"),
        ({"source": "absent.mp4"}, SourceError, "no such file"),
        ({"source": 0}, UsageError, r"a source is a path, .*for track a camera's number\); got 0"),
    ],
)
def test_what_cannot_be(clip: Path, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        toys(**{"source": clip, **arguments})


def test_ctrl_c_keeps_what_was_done(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(ToyModel):
        """A model during whose work the user presses Ctrl-C."""

        def predict(self, crops: Any, query: Any) -> Any:
            import signal  # a key that is pressed at the right moment

            if len(self.calls) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().predict(crops, query)

    with pytest.raises(KeyboardInterrupt):
        toys(clip, model=Interrupting())
    table = read_table(clip.with_name("toys.vtrack.csv"))
    assert 0 < len(table) <= COUNT and table.meta["counts"]["interrupted"] is True
    assert np.isfinite(table.points[-1]).all()


def test_a_table_for_openface_implies_its_points(tmp_path: Path) -> None:
    options = ["--format", "openface", "--stop", "0.1", "--quiet"]
    assert main(["run", str(SAMPLE), *options, "--csv", str(tmp_path / "theirs.csv")]) == 0
    assert run(SAMPLE, format="openface", stop=0.1, csv=tmp_path / "mine.csv").frames == 3
    table = (tmp_path / "mine.csv").read_text()
    assert table == (tmp_path / "theirs.csv").read_text()
    assert len(table.splitlines()[0].split(", ")) == 5 + 2 * 68
    for parts in ("eyes", "face"):  # the default's name, too, where it was chosen
        with pytest.raises(UsageError, match="needs its 68 points"):
            run(SAMPLE, parts, format="openface", stop=0.1, csv=tmp_path / "other.csv")
    assert main(["run", str(SAMPLE), "--parts", "face", *options, "--csv", str(tmp_path / "other.csv")]) == USAGE
    with pytest.raises(SinkError, match="exists already; add overwrite=True or choose another path"):
        run(SAMPLE, format="openface", stop=0.1, csv=tmp_path / "mine.csv")
