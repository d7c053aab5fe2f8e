"""Several sinks as one: a sink that fails never takes the work of the others with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from vtrack.errors import SinkError
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.pipelines.outputs.stdout import named
from vtrack.types import FrameResult

log = logging.getLogger(__name__)


class SinkGroup(Sink):
    """Writes results to several sinks, and goes on with the others when one fails.

    `write` raises only when no sink is left. Leaving the context finishes every sink that has not failed; `check` then
    raises if there was a failure. A reader of stdout that leaves early is none, unless stdout is the only output.

    Args:
        sinks: The outputs.

    Example:
        with SinkGroup([table, video]) as outputs:
            for result in results:
                outputs.write(result)
        outputs.check()
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._open = list(sinks)
        self._failures: list[Exception] = []
        self._broken_pipe: BrokenPipeError | None = None
        self.saved: list[Path] = []
        """Outputs that are complete, in the order of the sinks; `STDOUT` for stdout."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for sink in self._open:
                opened.enter_context(sink)
            opened.pop_all()
        return self

    def write(self, result: FrameResult) -> None:
        """Write the result of one frame to each sink that has not failed."""
        for sink in tuple(self._open):
            try:
                sink.write(result)
            except Exception as error:  # noqa: BLE001  raised by `check`, or here if no sink is left
                self._leave_out(sink, error)
        if not self._open:
            self.check()

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as stack:
            for sink in reversed(self._open):
                stack.push(partial(self._finish, sink))
            stack.pop_all().__exit__(kind, error, trace)

    def check(self) -> None:
        """Raise the error of a sink that has failed; a `SinkError` also names what was saved."""
        if self._broken_pipe is not None and not self._failures and not self.saved:
            raise self._broken_pipe
        if not self._failures:
            return
        foreign = next((error for error in self._failures if not isinstance(error, SinkError)), None)
        if foreign is not None:
            raise foreign
        message = "; ".join(dict.fromkeys(str(error) for error in self._failures))
        saved = f"; saved {', '.join(map(named, self.saved))}" if self.saved else ""
        raise SinkError(message + saved) from self._failures[0]

    def _leave_out(self, sink: Sink, error: Exception) -> None:
        """Close a sink that has failed; the others go on."""
        self._open.remove(sink)
        self._note(error)
        with suppress(Exception):  # it has failed already
            sink.__exit__(type(error), error, error.__traceback__)
        if self._open and error in self._failures:
            log.warning("%s; the other outputs go on", error)

    def _note(self, error: Exception) -> None:
        if isinstance(error, BrokenPipeError):
            self._broken_pipe = error
        else:
            self._failures.append(error)

    def _finish(
        self, sink: Sink, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            sink.__exit__(kind, error, trace)
        except Exception as failure:  # noqa: BLE001  raised by `check`
            self._note(failure)
            return
        file = getattr(sink, "file", None)
        if file is not None and (kind is None or issubclass(kind, KeyboardInterrupt)):
            self.saved.append(file.path)
