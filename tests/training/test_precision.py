"""Half precision only where it pays."""

from __future__ import annotations

import pytest
import torch

from vtrack.training.common import precision


@pytest.fixture(autouse=True)
def forget() -> None:
    precision.faster_on_cpu.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "used"),
    [({torch.bfloat16: 1.0, torch.float32: 2.0}, True), ({torch.bfloat16: 2.0, torch.float32: 1.0}, False)],
)
def test_the_quicker_of_the_two_is_taken(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[torch.dtype, float], used: bool
) -> None:
    monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
    layer = torch.nn.Linear(4, 4)
    with precision.autocast(torch.device("cpu")):
        assert layer(torch.ones(1, 4)).dtype == (torch.bfloat16 if used else torch.float32)


def test_this_processor_is_timed() -> None:
    assert precision._seconds(torch.float32) > 0
    assert precision.faster_on_cpu() == precision.faster_on_cpu()
    assert precision.faster_on_cpu.cache_info().misses == 1
