"""Options of all commands: what does not apply is refused in one line, files give settings back, and help comes at once."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.cli.imports import imported_modules
from tests.clips import write_clip
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings, plain
from vtrack.training.detector.loop import train_detector
from vtrack.training.detector.recipe import DetectorRecipe
from vtrack.training.landmarks.recipe import TrainingRecipe

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "sample.mp4"
HEAVY = {"torch", "cv2", "scipy", "av", "onnxruntime"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["run", "x.mp4", "--parts", "eyez"]])
def test_help_and_a_mistyped_part_answer_at_once(words: list[str]) -> None:
    code = USAGE if "eyez" in words else OK
    assert not HEAVY & imported_modules(words, code)


@pytest.mark.parametrize("words", [["parts"], ["parts", "eyes,lips:40"], ["models"]])
def test_lists_import_nothing_heavy(words: list[str]) -> None:
    assert not HEAVY & imported_modules(words, OK)


def test_a_run_loads_no_measures_that_it_is_not_asked_for(tmp_path: Path) -> None:
    words = ["run", "samples/sample.mp4", "--stop", "0.1", "--csv", str(tmp_path / "t.csv")]
    loaded = imported_modules(words, OK)
    assert not [name for name in loaded if name.startswith("vtrack.pipelines.measures.expressions")]
    assert "vtrack.pipelines.measures.measurer" not in loaded


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line of a command that is wrong usage."""
    assert main([str(word) for word in words]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vtrack: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rnu CLIP", "there is no command 'rnu'; did you mean run?"),
        ("CLIP", "did you mean vtrack run "),
        ("", "which command? choose from run, batch"),
        ("run CLIP CLIP", "run takes one input, got "),
        ("run CLIP CLIP", "for several: vtrack batch "),
        ("run CLIP --measures yes", "run does not take 'yes'; see vtrack run --help"),
        ("run CLIP --smooth.lpis 0.2", "there is no option --smooth.lpis; did you mean --smooth.lips"),
        ("run CLIP --smooth.lipz=0.2", "there is no option --smooth.lipz; did you mean --smooth.lips"),
        ("run CLIP --strength 0.2", "did you mean --smooth.strength"),
        ("run CLIP --model fsat", "there is no model 'fsat'; did you mean fast?"),
        ("run CLIP --every 0", "--every must be at least 1, got 0"),
        ("run CLIP --smooth.lips 3", "--smooth.lips must be 0 to 1, got 3"),
        ("run CLIP --smooth.strength 3", "--smooth.strength must be 0 to 1, got 3"),
        ("run CLIP --stop 1 --start 2", "--stop (1 s) must come after --start (2 s)"),
        ("run CLIP --parts eyes --format openface", "track --parts 300w, or leave out --parts"),
    ],
)
def test_wrong_usage_is_one_line_with_a_suggestion(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 3)
    assert message in refused(capsys, *words.replace("CLIP", str(clip)).split())
    assert list(tmp_path.iterdir()) == [clip]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("run x.mp4 --start abc", "--start: 'abc' is not a time; write seconds or [h:]mm:ss; see vtrack run --help"),
        ("run x.mp4 --max-faces x", "--max-faces must be a whole number, got 'x'; see vtrack run --help"),
        ("run x.mp4 --fps x", "--fps must be a number, got 'x'; see vtrack run --help"),
        ("run", "input missing; see vtrack run --help"),
        ("run x.mp4 --s 4", "--s could be several options; write it in full; see vtrack run --help"),
        ("batch x", "-o/--output missing; see vtrack batch --help"),
        ("webcam --port", "--port needs a value; see vtrack webcam --help"),
        ("bench --smooth --model", "--model and --smooth exclude each other; see vtrack bench --help"),
        (
            "webcam --view widow",
            "there is no --view 'widow'; did you mean window? choose from auto, window, browser, none; see vtrack "
            "webcam --help",
        ),
    ],
)
def test_what_cannot_be_parsed_is_one_line(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == USAGE
    assert capsys.readouterr().err == f"vtrack: {line}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run CLIP --crf 20", "--crf applies to the annotated video only; add --video"),
        ("run CLIP --codec h264", "--codec applies to the annotated video only"),
        ("run CLIP --preset veryfast", "--preset applies to the annotated video only"),
        ("run CLIP --draw points,curves", "--draw applies to the annotated video only"),
        ("run CLIP --jsonl --format wide", "--format applies to the CSV table only; add --csv"),
        (
            "run CLIP --parts eyes --smooth.lips 0.2",
            "--smooth.lips has no effect: no lips are tracked; add them to --parts",
        ),
        ("run CLIP --smooth none --smooth.strength 0.5", "--smooth.strength has no effect with --smooth none"),
        ("run CLIP --smooth none --smooth.lips 0.5", "--smooth.lips has no effect with --smooth none"),
        ("run CLIP --detector mediapipe --detect-size 640", "does not take a size; native and yunet do"),
        ("run CLIP --detector yunet --detector-model m.onnx --small-faces", "does not take a search for small faces"),
        ("run CLIP --detector yunet", "needs its model file"),
        ("run CLIP --fps 30", "--fps applies to images only"),
        ("run CLIP --csv OUT -o OUT.d", "--output applies to outputs without a path only"),
        ("batch CLIP -o OUT --crf 20", "--crf applies to the annotated video only; add --video"),
        ("batch CLIP -o OUT --draw boxes", "--draw applies to the annotated video only"),
        ("batch CLIP -o OUT --parquet --format wide", "--format applies to the CSV table only; add --csv"),
        ("batch CLIP -o OUT --parts eyes --smooth.lips 0.2", "no lips are tracked"),
        ("batch CLIP -o OUT --detector boxes", "needs its table"),
        ("batch CLIP -o OUT --address h:1", "--address needs --cluster ray"),
        ("batch CLIP -o memory://bucket/out --split auto", "--split needs a folder"),
        ("webcam --smooth rts --camera CLIP --view none", "there is no live smoothing 'rts'; choose from kalman"),
        ("webcam --parts eyes --smooth.jaw 0.2 --camera CLIP --view none", "no jaw are tracked"),
        ("webcam --camera CLIP --view none --draw boxes", "--draw applies to what is shown or recorded only"),
        ("webcam --camera CLIP --view none --port 8000", "--port applies to the page only; add --view browser"),
        ("webcam --camera CLIP --view none --no-mirror", "--no-mirror has no effect with --view none"),
        ("webcam --camera CLIP --view browser --key k.pem", "--key applies to a certificate only; add --cert"),
        ("webcam --camera 0 --view none --loop", "--loop applies to a file only"),
        (
            "webcam --camera CLIP --view none --overwrite",
            "--overwrite applies to outputs only; add --record, --csv or --events",
        ),
        ("webcam --camera CLIP --view none --to host:1", "add --emit ndjson or osc"),
        ("eval --task detect --data d --model fast", "--model applies to landmark models only"),
        ("eval --task detect --data d --engine auto", "--engine applies to landmark models only"),
        ("eval --task detect --data d --split val", "--split applies to landmark models only"),
        ("eval --data w68:d --threshold 0.5", "--threshold applies to the face detector only; add --task detect"),
        ("eval --data w68:d --detector native", "--detector applies to the face detector only; add --boxes detector"),
        ("eval --data w68:d --seed 1", "--seed applies to random shifts only; add --shift"),
        ("eval --data w68:d --sheet-faces 9", "--sheet-faces applies to the sheet only; add --sheet"),
        ("eval --data w68:d --overwrite", "--overwrite applies to pictures only"),
        ("eval --states --data d --shift 0.1", "--shift does not apply to --states"),
        ("eval --states --data d --task detect", "leave out --task detect"),
        ("train --task detect --data d --out OUT --model udfld", "--model applies to landmark models only"),
        ("train --task detect --data d --out OUT --points 68", "--points applies to landmark models only"),
        ("train --data w68:d --out OUT --cache c", "--cache applies to the face detector only; add --task detect"),
        ("train --data w68:d --out OUT --teacher-share 0.5", "add --teacher"),
        ("train --data w68:d --out OUT --labels-only w68", "add --teacher"),
        ("bench --smooth --faces 1", "--faces applies to a VIDEO or --suite only; name one"),
        ("bench --smooth --device cpu", "--device applies to models only"),
        ("bench --model --rounds 5", "--rounds applies to a VIDEO or --suite only"),
        ("bench --model --hwaccel none", "--hwaccel applies to a VIDEO or --suite only"),
        ("export --run d --name n -o OUT --parts eyes", "--parts does not go with --run"),
        ("export --model fast --parts eyes -o OUT.onnx --name n", "--name does not go with --model"),
        ("parts --overwrite", "--overwrite applies to the picture only; add --map"),
        ("parts eyes --fit w68:d", "leave out the query"),
    ],
)
def test_an_option_that_does_not_apply_is_refused(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 3)
    replaced = words.replace("CLIP", str(clip)).replace("OUT", str(tmp_path / "out"))
    assert message in refused(capsys, *replaced.split())
    assert list(tmp_path.iterdir()) == [clip]


def test_settings_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, config = write_clip(tmp_path / "clip.mp4", 6), tmp_path / "my.toml"
    config.write_text(
        'parts = "eyes,lips:8"\nsmooth = "kalman"\nmax_faces = 2\nevery = 2\noutputs = ["csv", "jsonl"]\n'
        'columns = ["raw"]\nstart = "0:00"\n[strengths]\nlips = 0.2\neyes = 0.3\n'
    )
    assert main(["run", str(clip), "--config", str(config), "--smooth.eyes", "0.1", "--every", "3", "--quiet"]) == OK
    options = json.loads((tmp_path / "clip.vtrack.csv.meta.json").read_text())["options"]
    expected = plain(
        Settings("eyes,lips:8", smooth="kalman", max_faces=2, strengths={"lips": 0.2, "eyes": 0.1}),
        InputSettings(start=0, every=3),
        OutputSettings(outputs=("csv", "jsonl"), columns=("raw",)),
    )
    assert options == expected
    assert (tmp_path / "clip.vtrack.jsonl").exists()
    # Outputs named on the command line stand in the place of the file's.
    assert main(["run", str(clip), "--config", str(config), "--csv", "--overwrite", "--quiet"]) == OK
    options = json.loads((tmp_path / "clip.vtrack.csv.meta.json").read_text())["options"]
    assert options["outputs"] == ["csv"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smoth = 'rts'", "there is no setting 'smoth' here; did you mean smooth"),
        ("max_faces = 0", "my.toml, line 1: max_faces must be at least 1, got 0"),
        ("max_faces = 'many'", "my.toml, line 1: max_faces must be a whole number, got 'many'"),
        ("[strengths]\nlips = 'much'", "my.toml, line 1: strengths.lips must be a number, got 'much'"),
        ("parts = 'eyez'", "did you mean eyes"),
        ("parts eyes", "my.toml, line 1: not TOML: Expected '='"),
        ("smooth = 'rts'\nparts = eyes", "my.toml, line 2: not TOML"),
        ('{"parts": \n eyes}', "my.toml, line 2: not JSON"),
        ("", "my.toml: holds no settings; give a .toml file, or an output's .meta.json"),
        ("# nothing yet\n", "my.toml: holds no settings"),
        ("{}", "my.toml: holds no settings"),
        ('{"vtrack": "1", "options": {}}', "my.toml: holds no settings"),
        ('{"vtrack": "1"}', "my.toml: holds no settings"),
        ('{"vtrack": "1", "options": 5}', "my.toml: holds no settings"),
    ],
)
def test_invalid_files(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, config = write_clip(tmp_path / "clip.mp4", 3), tmp_path / "my.toml"
    config.write_text(text)
    for command in (["run", clip], ["batch", clip, "-o", tmp_path / "out"], ["webcam", "--camera", clip]):
        assert message in refused(capsys, *command, "--config", config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "my.toml"]


def test_a_file_of_another_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "my.toml"
    config.write_text("start = 5")
    assert "there is no setting 'start' here" in refused(capsys, "webcam", "--view", "none", "--config", config)
    assert "cannot be read" in refused(capsys, "run", "x.mp4", "--config", tmp_path / "absent.toml")


def test_a_run_is_repeated_by_its_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    clip = Path(shutil.copy(SAMPLE, tmp_path / "a" / "clip.mp4"))
    options = ["--parts", "eyes,lips:6", "--stop", "1", "--every", "2", "--smooth.eyes", "0.2", "--max-faces", "1"]
    outputs = ["--csv", "--video", "--measures", "--draw", "boxes", "--crf", "30"]
    assert main(["run", str(clip), *options, *outputs, "--format", "long", "--quiet"]) == OK
    sidecar = tmp_path / "a" / "clip.vtrack.csv.meta.json"
    assert main(["run", str(clip), "--config", str(sidecar), "-o", str(tmp_path / "b"), "--quiet"]) == OK
    for name in ("clip.vtrack.csv", "clip.vtrack.mp4"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    again = json.loads((tmp_path / "b" / "clip.vtrack.csv.meta.json").read_text())
    assert again["options"] == json.loads(sidecar.read_text())["options"]
    # A batch takes the same file, and its sidecar gives the run back.
    batch = ["batch", str(clip), "-o", str(tmp_path / "c"), "--config", str(sidecar), "--workers", "1", "--quiet"]
    assert main(batch) == OK
    table = (tmp_path / "c" / "clip.vtrack.csv").read_bytes()
    assert table == (tmp_path / "a" / "clip.vtrack.csv").read_bytes()
    recipe = tmp_path / "c" / "clip.vtrack.meta.json"
    run = ["run", str(clip), "--config", str(recipe), "-o", str(tmp_path / "d"), "--quiet"]
    assert main(run) == OK
    assert (tmp_path / "d" / "clip.vtrack.csv").read_bytes() == table


@pytest.mark.parametrize("command", ["run", "batch"])
def test_measuring_for_events_adds_no_columns_to_a_repeated_run(tmp_path: Path, command: str) -> None:
    (tmp_path / "clip").mkdir()
    clip = write_clip(tmp_path / "clip" / "clip.mp4", 3)
    options = ["--parts", "eyes", "--csv", "--events", "--quiet"]
    assert main([command, str(clip), *options, "-o", str(tmp_path / "a")]) == OK
    sidecar = next((tmp_path / "a").glob("clip.vtrack*.meta.json"))
    assert main(["run", str(clip), "--config", str(sidecar), "-o", str(tmp_path / "b"), "--quiet"]) == OK
    for name in ("clip.vtrack.csv", "clip.vtrack.events.csv"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_help_is_made_from_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for command, smooth in (("run", Settings.smooth), ("batch", Settings.smooth), ("webcam", "kalman")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = re.sub(r"\s+", " ", capsys.readouterr().out)
        assert "time between detections, 0 to 1 seconds (default: 0.3)" in text
        assert f"kalman, one-euro or none (default: {smooth})" in text
        assert "auto, native, mediapipe, yunet or boxes (default: auto)" in text


def test_help_of_training_is_made_from_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for name in ("steps", "batch", "rate", "every"):
        landmarks, detector = getattr(TrainingRecipe, name), getattr(DetectorRecipe, name)
        assert f"(default: {landmarks}; {detector} with --task detect)" in text
    for name in ("teacher_share", "most_points", "gaps", "seed", "threads", "device"):
        assert f"(default: {getattr(TrainingRecipe, name)})" in text
    assert "angle=18, scale=0.12, shift=0.06, flip=1, picture=0.4, shut=0, occlude=0 by default" in text
    defaults = inspect.signature(train_detector).parameters
    assert all(defaults[name].default == value for name, value in asdict(DetectorRecipe()).items())
