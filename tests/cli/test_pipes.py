"""`vtrack` between other programs: stdin and stdout, readers that leave, streams that are closed, locales, odd names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import write_clip
from vtrack.cli.main import INTERRUPTED, OK, USAGE, main

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "sample.mp4"
OPTIONS = ["--parts", "eyes", "--quiet"]


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash in which `vtrack` and `$sample` are what they seem; the exit code is that of the last `vtrack`."""
    setup = f'vtrack() {{ "{sys.executable}" -m vtrack "$@"; }}; sample="{SAMPLE}"; '
    return subprocess.run(
        ["bash", "-c", setup + script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


def test_from_stdin_to_stdout(tmp_path: Path) -> None:
    run = shell("cat $sample | vtrack run - --parts eyes --stop 0.5 --csv - --jsonl a.jsonl", tmp_path)
    assert run.returncode == OK
    assert run.stderr.splitlines()[-1] == "wrote stdout, a.jsonl"
    assert main(["run", str(SAMPLE), "--stop", "0.5", "--csv", str(tmp_path / "b.csv"), *OPTIONS]) == OK
    assert run.stdout == (tmp_path / "b.csv").read_text()
    assert json.loads((tmp_path / "a.jsonl.meta.json").read_text())["source"]["name"] == "stdin"


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    script = (
        'cat $sample | vtrack run - --parts eyes --smooth kalman --quiet --csv - | head -n 2; exit "${PIPESTATUS[1]}"'
    )
    run = shell(script, tmp_path)
    assert (run.returncode, run.stderr) == (OK, "")
    assert len(run.stdout.splitlines()) == 2


def test_the_other_outputs_outlive_a_reader_that_leaves(tmp_path: Path) -> None:
    script = (
        'vtrack run $sample --parts eyes --stop 3 --quiet --csv - --jsonl a.jsonl | head -n 1; exit "${PIPESTATUS[0]}"'
    )
    run = shell(script, tmp_path)
    assert (run.returncode, run.stderr) == (OK, "")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 90


def test_a_run_whose_pipe_is_silent_ends_when_asked(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "clip.ts", frames=100).read_bytes()
    command = [
        sys.executable,
        "-m",
        "vtrack",
        "run",
        "-",
        "--smooth",
        "none",
        "--csv",
        "-",
        "--jsonl",
        "a.jsonl",
        *OPTIONS,
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as run:  # fmt: skip
        assert run.stdin is not None and run.stdout is not None and run.stderr is not None
        run.stdin.write(data[: len(data) // 2])
        run.stdin.flush()
        assert run.stdout.readline().startswith(b"frame,time_s")
        for _ in range(6):
            assert run.stdout.readline()
        run.send_signal(signal.SIGTERM)
        assert run.wait() == INTERRUPTED
        assert run.stderr.read() == b"vtrack: interrupted\n"
    assert 5 < len((tmp_path / "a.jsonl").read_text().splitlines()) < 100


def test_outputs_of_stdin_need_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-", *OPTIONS]) == USAGE
    assert "a video from stdin gives its outputs no name; write --csv PATH, or --output DIR" in capsys.readouterr().err
    run = shell("vtrack run - -o out --parts eyes --stop 0.1 < $sample", tmp_path)
    assert run.returncode == OK and (tmp_path / "out" / "stdin.vtrack.csv").exists()


def test_closed_streams(tmp_path: Path) -> None:
    run = shell("vtrack run $sample --parts eyes --stop 0.1 --csv a.csv --video a.mp4 2>&-", tmp_path)
    assert (run.returncode, run.stdout) == (OK, "")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4 and (tmp_path / "a.mp4").stat().st_size > 1000
    run = shell("vtrack run absent.mp4 2>&- <&-", tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    run = shell("vtrack run $sample --parts eyes --stop 0.1 --csv - >&-", tmp_path)
    assert (run.returncode, run.stderr) == (1, "vtrack: cannot write to stdout: it is closed\n")
    run = shell("vtrack run $sample --parts eyes --stop 0.1 --csv - > /dev/full", tmp_path)
    assert (run.returncode, run.stderr) == (1, "vtrack: cannot write to stdout: No space left on device\n")


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_names_that_are_not_text(tmp_path: Path, locale: dict[str, str]) -> None:
    """In UTF-8 and in ASCII: one name is valid UTF-8, one is not."""
    for name in (b"caf\xe9.mp4", b"caf\xc3\xa9.mp4"):
        path = Path(shutil.copy(SAMPLE, tmp_path / os.fsdecode(name)))
        assert shell(f"vtrack run '{path}' --parts eyes --stop 0.1 --video", tmp_path, **locale).returncode == OK
        table = path.with_suffix(".vtrack.csv")
        assert table.exists()
        facts = json.loads(table.with_name(f"{table.name}.meta.json").read_bytes().decode())
        assert facts["source"]["name"].startswith("caf") and facts["counts"]["frames"] == 3
    script = "vtrack batch '*.mp4' -o out --exclude '*.vtrack.*' --parts eyes --stop 0.1 --merge all.csv --workers 1"
    for times in ("2 done; 6", "2 done (2 of them before); 6"):
        run = shell(script, tmp_path, **locale)
        assert run.returncode == OK, run.stderr
        assert f"2 videos: {times} frames" in run.stderr
    names = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert b"caf\\xe9.vtrack.csv" in names and b"caf\xc3\xa9.vtrack.csv" in names
    assert {line.split(",")[0] for line in (tmp_path / "all.csv").read_text("utf-8").splitlines()[1:]} == {
        "caf\\xe9.mp4",
        "café.mp4",
    }
