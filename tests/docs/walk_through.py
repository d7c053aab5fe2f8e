"""Runs the commands of the walk-through, and writes what they print, and the pictures, into the documentation.

python -m tests.docs.walk_through        needs Chromium for the picture of the report
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from tests.docs.pages import ROOT, blocks
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray

PAGE = ROOT / "docs" / "guides" / "walk-through.md"
IMAGES = ROOT / "docs" / "images"
_SHOWN = 101
"""Frame of the drawn video that is shown: the mouth opens."""
_SIDE = 420
"""Height of the pictures of faces in pixels."""
_PAGE = 1060, 1500
"""Size of the picture of the report, before it is made smaller."""


def run_commands(folder: Path) -> str:
    """Run the commands of the page in a folder; return the page with what they print."""
    text, place = PAGE.read_text(encoding="utf-8"), 0
    shell = f'set -e\nvtrack() {{ {shlex.quote(sys.executable)} -m vtrack "$@"; }}\n'
    for block in blocks(PAGE):
        if block.language != "sh":
            continue
        done = subprocess.run(
            ["bash", "-c", shell + block.code],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=True,
        )  # fmt: skip
        place = text.index(block.code, place) + len(block.code)
        start = text.index("```text\n", place) + len("```text\n")
        end = text.index("```", start)
        text = text[:start] + done.stdout.strip() + "\n" + text[end:]
    return text


def save_pictures(folder: Path) -> None:
    """Save the pictures of what the commands have made in a folder."""
    with open_source(str(folder / "out" / "both.mp4")) as source:
        frame = next(frame for frame in source if frame.index == _SHOWN)
    result = next(result for result in TableResults(folder / "out" / "talk.csv") if result.index == _SHOWN)
    crop = Crops.around(result.faces[0].box[None], 1.2)
    _save("draw", [np.ascontiguousarray(warp([frame.image], [0], crop, _SIDE)[0].transpose(1, 2, 0))])
    _save("compare", [cv2.imread(str(path))[..., ::-1] for path in sorted((folder / "out" / "worst").glob("*.png"))])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed, which makes the picture of the report")
    picture, size = folder / "report.png", ",".join(map(str, _PAGE))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'chromium'}",
    ]
    address = (folder / "out" / "talk.report.html").as_uri()
    subprocess.run(
        [chromium, *options, f"--window-size={size}", f"--screenshot={picture}", address],
        capture_output=True,
        check=True,
    )
    page = cv2.imread(str(picture))[..., ::-1]
    _save("report", [cv2.resize(page, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)], scaled=False)


def _save(name: str, images: Sequence[ImageArray], *, scaled: bool = True) -> None:
    """Save images side by side, of the same height."""
    if scaled:
        sizes = [(round(image.shape[1] * _SIDE / image.shape[0]), _SIDE) for image in images]
        images = [
            cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image, size in zip(images, sizes, strict=True)
        ]
    picture = np.concatenate([*images], 1)[..., ::-1]
    cv2.imwrite(str(IMAGES / f"walk-through-{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])


def main() -> None:
    """Make all of it."""
    with TemporaryDirectory(prefix="vtrack-") as name:
        folder = Path(name)
        (folder / "samples").mkdir()
        shutil.copy(ROOT / "samples" / "sample.mp4", folder / "samples")
        text = run_commands(folder)
        save_pictures(folder)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
