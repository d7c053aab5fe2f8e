"""Which threads are the program's own. Others come and go as they please: timers of tests, threads of libraries."""

from __future__ import annotations

import threading


def own_threads() -> set[threading.Thread]:
    """Threads that run and are the program's; `tests/test_structure.py` checks that it names all of them alike.

    before = own_threads()
    list(track(clip))
    assert own_threads() <= before
    """
    return {thread for thread in threading.enumerate() if thread.name.startswith("vtrack-")}
