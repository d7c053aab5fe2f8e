"""Batches on a Ray cluster of several node processes, on the loopback alone. Skipped where Ray, an extra, is not installed."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Before Ray is loaded: nothing of it shall listen beyond the loopback, or tell anybody that it is used.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A machine that is slow or busy needs more than 5 s until the head can be reached.
os.environ["RAY_gcs_rpc_server_connect_timeout_s"] = "300"  # noqa: SIM112  Ray spells it so
ray = pytest.importorskip("ray")

from tests.pipelines.batch.batching import ActingDetector, batch, recipe, summary, tables, write_toys  # noqa: E402
from vtrack.errors import ModelError, SinkError, VTrackError  # noqa: E402
from vtrack.pipelines.batch.lock import lock_folder  # noqa: E402
from vtrack.pipelines.batch.workers.cluster import Cluster, ClusterPool  # noqa: E402
from vtrack.pipelines.batch.workers.dispatch import Finished, Progress, Report, Started  # noqa: E402

ROOT = Path(__file__).parents[3]


class SlowClock:
    """The module `time` with a clock that goes slowly, for who has a limit of seconds and no setting for it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        return time.monotonic() / 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for work, and two nodes with a core each."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.node.time", SlowClock())  # Ray gives up a node that does not start within 30 s
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


@dataclass(frozen=True)
class ToyWork:
    """Does what a job's name says."""

    broken: bool = False

    def prepare(self) -> Callable[[str, Report], str]:
        if self.broken:
            raise ModelError("the weights are gone")
        return self._do

    def _do(self, job: str, report: Report) -> str:
        if job == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "hangs":
            time.sleep(600)
        if job == "slow":
            for i in range(40):
                time.sleep(0.1)
                report(i, 40)
        return f"{job} with {os.environ['OMP_NUM_THREADS']}"


def events_of(cluster: Any, out: Path, jobs: list[str], *, timeout: float = 60, **toy: Any) -> list[Any]:
    with lock_folder(out) as lock, Cluster(cluster.address) as joined:
        assert joined.capacity == 2
        pool = joined.pool(ToyWork(**toy), workers=2, timeout=timeout, lock=lock)
        return [*pool.run(deque(jobs), threading.Event())]


def test_dead_and_hanging_workers_fail_one_job(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the job that never ends is timed: the others have all the time that a slow machine needs."""

    def limit(pool: ClusterPool[Any, Any], worker: Any) -> float:
        return pool._timeout if worker.job == "hangs" else math.inf

    monkeypatch.setattr(ClusterPool, "_limit", limit)
    events = events_of(cluster, tmp_path, ["good 1", "hangs", "slow", "dies", "good 2"], timeout=3)
    ends = {event.job: event for event in events if isinstance(event, Finished)}
    assert {job: end.result for job, end in ends.items() if end.result} == {
        job: f"{job} with 1" for job in ("good 1", "slow", "good 2")
    }
    assert ("no progress for 3 s" in ends["hangs"].lost, ends["hangs"].machine_lost) == (True, False)
    assert ("its worker died" in ends["dies"].lost, ends["dies"].machine_lost) == (True, True)
    assert any(isinstance(event, Progress) and event.expected == 40 for event in events)


def test_errors_at_the_start_are_raised(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the weights are gone"):
        events_of(cluster, tmp_path / "a", ["good"], broken=True)
    with lock_folder(tmp_path / "b") as lock, Cluster(cluster.address) as joined:
        # A machine that has a folder of this name, but another one.
        lock.path.write_text("somebody else's")
        pool = joined.pool(ToyWork(), workers=1, timeout=60, lock=lock)
        with pytest.raises(SinkError, match="does not share the folder"):
            [*pool.run(deque(["good"]), threading.Event())]
    with pytest.raises(VTrackError, match=r"no Ray cluster at 127\.0\.0\.1:9"), Cluster("127.0.0.1:9"):
        pass


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's list of sockets")
def test_nothing_listens_beyond_the_loopback(cluster: Any, tmp_path: Path) -> None:
    with Cluster(cluster.address):
        listening = [address for pid in family(os.getpid()) for address in listeners(pid)]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


def family(pid: int) -> list[int]:
    """A process and all that came of it."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [pid, *(one for child in children for one in family(child))]


def listeners(pid: int) -> list[str]:
    """The IPv4 addresses (also those within IPv6) at which a process listens."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in links:
                addresses.append(socket.inet_ntoa(bytes.fromhex(local.split(":")[0][-8:])[::-1]))
    return addresses


def is_busy(node: Any) -> bool:
    """Whether an actor on a node is at a job, which Ray shows in the name of its process."""
    try:
        family_of_node = [one for info in node.all_processes["raylet"] for one in family(info.process.pid)]
        return any(b"_Actor.do" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family_of_node)
    except OSError:  # one of them has just ended
        return False


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's list of processes")
@pytest.mark.timeout(900)
def test_a_node_that_dies_loses_nothing_and_nothing_is_done_twice(cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for i in range(5):
        write_toys(folder / f"{i}.mp4", 200 + 10 * i)
    write_toys(folder / "long.mp4", 600)
    batch(folder, tmp_path / "alone", workers=1, split=0).run()
    doomed = cluster.add_node(num_cpus=1)
    killed, over = tmp_path / "killed", threading.Event()
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()

    def watch(event: Any) -> None:
        if isinstance(event, Started):
            begun[f"{type(event.job).__name__} {event.job.name}"] += 1
        if isinstance(event, Finished):
            ended[event.job.name] += 1

    def kill() -> None:
        """Kill the node once it is at a job; until then every job waits, whatever the order in which nodes start."""
        while not is_busy(doomed):
            if over.wait(0.1):
                return
        cluster.remove_node(doomed, allow_graceful=False)
        killed.touch()

    waiting = recipe(detector=ActingDetector(width=160, act=partial(wait_for, killed)))
    job = batch(folder, tmp_path / "out", waiting, workers=None, split=5, cluster=cluster.address, timeout=3600)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        job.run(on_event=watch)
    finally:
        over.set()
        killer.join()
    assert killed.exists()
    assert max(begun.values()) == 2  # the node's one job was begun again
    assert [row["error"] for row in summary(tmp_path / "out").values() if row["error"]] == []
    assert {row["status"] for row in summary(tmp_path / "out").values()} == {"done"}
    assert ended == Counter({video.name: 1 for video in job.videos})
    assert tables(tmp_path / "out") == tables(tmp_path / "alone")


def test_the_command(cluster: Any, tmp_path: Path) -> None:
    write_toys(tmp_path / "in" / "clip.mp4", 8)
    (tmp_path / "in" / "boxes.csv").write_text("frame,x,y,w,h\n0,40,20,50,60\n")
    boxes = ["--detector", "boxes", "--detector-model", str(tmp_path / "in" / "boxes.csv"), "--parts", "eyes"]
    command = [sys.executable, "-m", "vtrack", "batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *boxes]
    cluster_options = ["--cluster", "ray", "--address", cluster.address]
    done = subprocess.run([*command, *cluster_options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 video: 1 done; 8 frames" in done.stderr
