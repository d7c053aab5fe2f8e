"""What all tests share: where the annotated photographs are, and which tests this machine can run."""

from __future__ import annotations

import gc
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

# OpenCV before PyAV, which other tests import: otherwise `cv2.imshow` hangs. `pipelines/live/__init__.py` says why.
import cv2  # noqa: F401
import pytest

from tests.threads import own_threads

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup pytest` would hand its deafness on to the commands under test

ROOT = Path(__file__).parents[1]
LONDON = Path(__file__).parent / "data" / "london"

_CANDIDATES = (ROOT / "data", ROOT.parent / "shared" / "data")
"""Where the annotated photographs may be: in the checkout, or in a folder that several checkouts share."""


def _data_folder() -> Path:
    """The folder of the annotated photographs: VTRACK_DATA, or the first candidate that exists."""
    if folder := os.environ.get("VTRACK_DATA"):
        return Path(folder)
    return next((folder for folder in _CANDIDATES if folder.is_dir()), _CANDIDATES[0])


DATA = _data_folder()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The annotated photographs and clips; the test is skipped where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; set VTRACK_DATA")
    return DATA


@pytest.fixture(scope="session")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `frl189.zip`: the sixteen annotated faces of `tests/data/london`, packed as the larger data sets are."""
    folder = tmp_path_factory.mktemp("faces")
    with zipfile.ZipFile(folder / "frl189.zip", "w") as archive:
        for path in (LONDON / "labels.csv", *sorted((LONDON / "images").iterdir())):
            archive.write(path, path.relative_to(LONDON))
    return folder


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """No thread of the program that the test started runs at its end."""
    before = own_threads()
    yield
    gc.collect()
    assert own_threads() <= before


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("data") and not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; set VTRACK_DATA")
    if item.get_closest_marker("cuda") and not _has_cuda():
        if os.environ.get("VTRACK_FAIL_WITHOUT_CUDA"):
            pytest.fail("VTRACK_FAIL_WITHOUT_CUDA is set, but there is no NVIDIA GPU")
        pytest.skip("no NVIDIA GPU")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
