"""What all tests share: where the annotated photographs are, and which tests this machine can run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("VTRACK_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The annotated photographs and clips; the test is skipped where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; set VTRACK_DATA")
    return DATA


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
