"""Standard streams that were closed before the program began, as by `2>&-`, or whose terminal is closed meanwhile."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

_MODES = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)
"""How the null device stands for stdin, stdout and stderr: messages vanish, but reading and writing of data fail."""


def fill_closed_streams() -> None:
    """Open the null device in the place of closed standard streams.

    Otherwise the next file that is opened gets the number of a closed stream, and what libraries print there goes into it;
    and Python has None for `sys.stderr`.
    """
    for descriptor, mode in enumerate(_MODES):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


_terminal_left = False


def leave_terminal() -> None:
    """Open the null device in the place of standard streams that are terminals: writing to one that was closed fails."""
    global _terminal_left  # noqa: PLW0603
    _terminal_left = True
    for descriptor in range(len(_MODES)):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                opened = os.open(os.devnull, os.O_RDWR)
                os.dup2(opened, descriptor)
                os.close(opened)


def put_back(descriptor: int, kept: int) -> None:
    """Put a standard stream back from its duplicate, which is closed; not if its terminal was left meanwhile."""
    os.dup2(kept, descriptor)
    os.close(kept)
    if _terminal_left:
        leave_terminal()
