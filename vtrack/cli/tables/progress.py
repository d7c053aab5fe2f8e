"""The progress bar of a command that reads a table with its video."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtrack.pipelines.sources.base import Source
    from vtrack.types import FrameResult


@contextmanager
def frame_bar(*, quiet: bool) -> Iterator[Callable[[Source], Callable[[FrameResult], object]]]:
    """Yield what makes a bar of an opened source, and gives what counts each result; terminals alone show it."""
    from tqdm import tqdm

    with ExitStack() as bars:

        def progress(source: Source) -> Callable[[FrameResult], object]:
            hidden = quiet or not sys.stderr.isatty()
            bar = bars.enter_context(
                tqdm(total=source.expected, desc=source.info.name, unit=" frames", disable=hidden, leave=False)
            )
            return lambda result: bar.update()

        yield progress
