"""The commands and snippets of the README and the guides run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, name
from vtrack.cli.main import build_parser

RUN = [page for page in PAGES if page.parent.name in ("guides", "reference", "samples") or page == ROOT / "README.md"]
REASONS = re.compile(
    r"(needs (a|an|several|annotated) [\w ,]+|installs packages|builds an environment|training takes hours|.+ take a minute)"
)
"""The reasons for which a block may be left out."""
_LINES = re.compile(r"^ {4}(?:time )?(vtrack [a-z].*)$", re.MULTILINE)


@pytest.mark.parametrize("page", RUN, ids=name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    """All blocks of a page, in order, beside the samples and the faces; text after a snippet is what it prints."""
    output = None
    (tmp_path / "samples").mkdir()
    for sample in ("sample.mp4", "track.py"):
        shutil.copy(ROOT / "samples" / sample, tmp_path / "samples")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        if block.language == "text" and output is not None:
            # Figures differ by a digit from one processor to another.
            assert re.sub(r"\d+", "0", output) == re.sub(r"\d+", "0", block.code), (
                f"{where}: not what is printed:\n{output}"
            )
        output = None
        if block.language in ("sh", "python") and block.reason is None:
            done = _run(block, tmp_path)
            assert done.returncode == 0, f"{where}\n{block.code}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
            output = done.stdout if block.language == "python" else None


def _run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """What became of a block."""
    interpreter = shlex.quote(sys.executable)
    if block.language == "python":
        command = [sys.executable, "-c", block.code]
    else:
        shell = (
            f'set -e\nvtrack() {{ {interpreter} -m vtrack "$@"; }}\npython() {{ {interpreter} "$@"; }}\n{block.code}'
        )
        command = ["bash", "-c", shell]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_blocks_that_are_not_run_say_why() -> None:
    left_out = [block for page in RUN for block in blocks(page) if block.reason is not None]
    unknown = [
        f"{name(block.page)}:{block.line}: {block.reason}"
        for block in left_out
        if not REASONS.fullmatch(block.reason or "")
    ]
    assert left_out and not unknown, unknown


def test_every_command_of_every_page_parses() -> None:
    """Those that cannot run here, and those of the measurements, at least name options that exist."""
    parser = build_parser()
    wrong, count = [], 0
    for page in PAGES:
        lines = _LINES.findall(page.read_text(encoding="utf-8").replace("\\\n", " "))
        lines += [line for block in blocks(page) if block.language == "sh" for line in block.commands]
        for line in lines:
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part, comments=True)
                if words[:1] != ["vtrack"] or any(
                    word.startswith(("$", "[")) or word in ("…", "...") for word in words
                ):
                    continue
                count += 1
                try:
                    parser.parse_args(words[1:])
                except SystemExit:
                    wrong.append(f"{name(page)}: {part.strip()}")
    assert count > 60 and not wrong, wrong
