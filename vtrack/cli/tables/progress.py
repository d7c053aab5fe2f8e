"""Progress bars of commands that read a table, alone or with its video."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtrack.pipelines.sources.base import Source
    from vtrack.types import FrameResult


@contextmanager
def frame_bar(*, quiet: bool, every_frame: bool) -> Iterator[Callable[[Source], Callable[[FrameResult], object]]]:
    """Make the bar of a source once it is open; terminals alone show it.

    Args:
        quiet: Whether there is none.
        every_frame: Whether there is a result for each frame of the source, so that the bar has an end.

    Yields:
        What makes the bar of an opened source, and gives what counts each result.
    """
    from tqdm import tqdm

    with ExitStack() as bars:

        def progress(source: Source) -> Callable[[FrameResult], object]:
            hidden = quiet or not sys.stderr.isatty()
            bar = bars.enter_context(
                tqdm(
                    total=source.expected if every_frame else None,
                    desc=source.info.name,
                    unit=" frames",
                    disable=hidden,
                    leave=False,
                )
            )
            return lambda result: bar.update()

        yield progress


def result_bar(name: str, *, quiet: bool) -> Callable[[Iterator[FrameResult]], Iterator[FrameResult]]:
    """What gives results on and counts them; terminals alone show it."""

    def counted(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
        from tqdm import tqdm

        hidden = quiet or not sys.stderr.isatty()
        yield from tqdm(results, desc=name, unit=" frames", disable=hidden, leave=False)

    return counted
