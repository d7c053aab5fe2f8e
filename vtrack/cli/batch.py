"""`vtrack batch`: folders of videos in, a table (and video) for each out, and a summary of all."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from vtrack.cli.options import add_config_option, add_options, make_settings, reader, worker_count
from vtrack.cli.run import run_values
from vtrack.errors import UsageError
from vtrack.options import seconds, split_names
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings

if TYPE_CHECKING:
    from vtrack.pipelines.batch.files import Video
    from vtrack.pipelines.batch.run import BatchOptions, BatchRun
    from vtrack.pipelines.batch.state import Recipe, VideoOutcome
    from vtrack.pipelines.batch.store import RemoteStore
    from vtrack.pipelines.batch.workers.dispatch import Event

EXAMPLES = """examples:
  vtrack batch videos -o out                         a table for each video below videos, and out/summary.csv
  vtrack batch 'talks/**/*.mp4' -o out --parts lips:40 --video --merge out/all.parquet
  vtrack batch list.txt -o out --workers 4 --timeout 600
  vtrack batch /shared/videos -o /shared/out --cluster ray
  vtrack batch photographs -o out --pictures         a table for each folder of images, and annotated pictures
  (the same command again does only what is left, changed or, with --retry-failed, failed)
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "batch",
        help="track faces through folders of videos and images",
        description="Track faces through many videos, several at a time, each in a process of its own. The images of a folder "
        "count as one video, with one table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder, quoted pattern, video, image, or list (.txt) of paths or addresses",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="where the tree is mirrored; also s3://, gs://, ... (extra: remote)",
    )
    add_config_option(parser)
    group = parser.add_argument_group("videos")
    group.add_argument("--include", type=split_names, default=(), metavar="PATTERNS", help="files to take: *.mp4,raw/*")
    group.add_argument(
        "--exclude", type=split_names, default=(), metavar="PATTERNS", help="files and folders to leave out"
    )

    group = parser.add_argument_group("work")
    group.add_argument("--workers", default="auto", metavar="N", help="videos at a time (default: one for each core)")
    group.add_argument("--timeout", type=float, metavar="SECONDS", help="end a video without headway (default: 300)")
    group.add_argument(
        "--split",
        type=reader(_split),
        default="never",
        metavar="TIME",
        help="find the faces of long videos in pieces of so many seconds or [h:]mm:ss; auto: where workers would "
        "have nothing to do; never (default)",
    )
    group.add_argument("--cluster", choices=["ray"], help="work on all machines of a running Ray cluster (extra: ray)")
    group.add_argument("--address", metavar="HOST:PORT", help="of the cluster (default: auto, the one of this machine)")
    group.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    group.add_argument("--fail-fast", action="store_true", help="stop at the first failure")

    group = parser.add_argument_group("outputs", "A CSV table for each video, unless other tables are asked for.")
    for name, entry in OUTPUTS.items():
        group.add_argument(f"--{name}", action="store_true", help=f"write {entry.help} for each")
    group.add_argument("--merge", type=Path, metavar="PATH", help="also one .parquet or .csv table of all videos")
    group.add_argument(
        "--report", action="store_true", help="write a page about each table, and report.html as their index"
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="estimate how far off the points of each table are, for the summary, a table of seconds, and the report",
    )
    group.add_argument("--overwrite", action="store_true", help="do all again, and replace files made by others")
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")
    add_options(parser, Settings, InputSettings, OutputSettings, groups={"outputs": group})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Find, do what is left, and say what came of it."""
    from vtrack.cli.main import FAILED, OK
    from vtrack.pipelines.batch.files import FilePatterns, find_videos
    from vtrack.pipelines.batch.merge import merge_tables
    from vtrack.pipelines.batch.run import BatchRun
    from vtrack.pipelines.batch.summary import NAME as SUMMARY
    from vtrack.pipelines.batch.summary import format_totals
    from vtrack.pipelines.batch.workers.worker import TrackingWork
    from vtrack.runtime.threads import interruptible

    began = time.perf_counter()
    recipe, options = _recipe(args), _options(args)
    with ExitStack() as ends:
        out, store = _destination(args, ends)
        videos = find_videos(args.inputs, out, FilePatterns(args.include, args.exclude))
        batch = BatchRun(videos, TrackingWork(recipe, args.overwrite, store), out, options)
        with interruptible() as stop:
            display = _display(args.quiet, batch)
            try:
                batch.run(stop=stop, on_event=lambda event: display.show(event, ending=stop.is_set()))
            finally:
                display.close()
                if batch.outcomes and not args.quiet:
                    print(
                        format_totals(batch.outcomes, batch.done_before, time.perf_counter() - began), file=sys.stderr
                    )
                    print(f"summary: {args.output.rstrip('/')}/{SUMMARY}", file=sys.stderr)
                    if batch.failed_before:
                        print("--retry-failed tries again what failed before", file=sys.stderr)
            if stop.is_set():
                raise KeyboardInterrupt
        if args.merge is not None:
            done = [video for video, outcome in batch.outcomes.items() if outcome.status == "done"]
            if done and merge_tables(args.merge, done, recipe, overwrite=args.overwrite) and not args.quiet:
                print(f"merged: {args.merge}", file=sys.stderr)
        checked = _check_tables(batch, recipe, options, args) if args.check else True
        pages = _write_reports(batch, recipe, out, args) if args.report else True
    return FAILED if batch.failed or batch.incomplete or not (checked and pages) else OK


def _check_tables(batch: BatchRun, recipe: Recipe, options: BatchOptions, args: argparse.Namespace) -> bool:
    """Check all tables whose check is not up to date, and write the summary anew; return whether all are checked."""
    from tqdm import tqdm

    from vtrack.pipelines.batch.summary import write_summary
    from vtrack.pipelines.tables.quality.batch import check_tables, needed_checks
    from vtrack.runtime.threads import interruptible

    jobs, errors = needed_checks(batch.outcomes, recipe, anew=args.overwrite), {}
    with interruptible() as stop:
        done = check_tables(jobs, options, stop, overwrite=args.overwrite) if jobs else ()
        hidden = args.quiet or not sys.stderr.isatty()
        for video, error in tqdm(done, desc="checks", total=len(jobs), disable=hidden, leave=False):
            errors.update({video: error} if error else {})
        write_summary(batch.out, batch.outcomes)
        if stop.is_set():
            raise KeyboardInterrupt
    for video, error in errors.items():
        print(f"vtrack: {video.name}: {error}", file=sys.stderr)
    return not errors


def _write_reports(batch: BatchRun, recipe: Recipe, out: Path, args: argparse.Namespace) -> bool:
    """Write the pages of all tables that have none, or an older one, and their index; return whether all are written."""
    from tqdm import tqdm

    from vtrack.pipelines.tables.report.folder import INDEX, IndexRow, report_row, write_index

    rows, failed = [], []
    hidden = args.quiet or not sys.stderr.isatty()
    for video, outcome in tqdm(batch.outcomes.items(), desc="reports", disable=hidden, leave=False):
        tables = [path for name, path in recipe.outputs(video.outputs).items() if OUTPUTS[name].reader]
        if outcome.status == "done" and tables:
            rows.append(report_row(tables[0], overwrite=args.overwrite, name=video.name)[0])
            failed += [rows[-1]] if rows[-1].error else []
        else:
            rows.append(IndexRow(video.name, error=outcome.error or outcome.status))
    write_index(out / INDEX, rows, out.resolve().name)
    if not args.quiet:
        print(f"reports: {out / INDEX}", file=sys.stderr)
    for row in failed:
        print(f"vtrack: {row.name}: {row.error}", file=sys.stderr)
    return not failed


def _destination(args: argparse.Namespace, ends: ExitStack) -> tuple[Path, RemoteStore | None]:
    """The folder that outputs are made in, and the store they go to if `-o` is an address."""
    from vtrack.pipelines.batch.store import RemoteStore

    if "://" in args.output:
        if args.merge is not None:
            raise UsageError(
                f"--merge reads the tables in a folder, and {args.output} is an address; merge a local copy"
            )
        if args.report:
            raise UsageError(f"--report needs a folder, and {args.output} is an address; vtrack report a local copy")
        if args.check:
            raise UsageError(f"--check needs a folder, and {args.output} is an address; vtrack check a local copy")
        if args.pictures:
            raise UsageError(f"--pictures needs a folder, and {args.output} is an address")
        if args.split != 0:
            raise UsageError(f"--split needs a folder that all workers share; {args.output} is an address")
        folder = ends.enter_context(TemporaryDirectory(prefix="vtrack-", ignore_cleanup_errors=True))
        return Path(folder), RemoteStore(args.output, Path(folder))
    out = Path(args.output)
    if args.report and not args.overwrite:
        _check_index(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out} is not a folder")
    return out, None


def _recipe(args: argparse.Namespace) -> Recipe:
    """What is done with every video."""
    values = run_values(args)
    settings, inputs = make_settings(Settings, values).check_used(args.given), make_settings(InputSettings, values)
    output = make_settings(OutputSettings, values)

    from vtrack.pipelines.batch.merge import merged_kind
    from vtrack.pipelines.batch.state import Recipe
    from vtrack.pipelines.sources.decoder import check_hwaccel

    check_hwaccel(inputs.hwaccel)
    if args.merge is not None:
        output = replace(output, outputs=(*values.get("outputs", ()), merged_kind(args.merge, output.format)))
    return Recipe(settings, inputs, output.with_table().check_used(args.given))


def _split(text: str) -> float | None:
    """The length of pieces in seconds, 0 for never, None for auto."""
    return {"auto": None, "never": 0.0}[text] if text in ("auto", "never") else seconds(text)


def _options(args: argparse.Namespace) -> BatchOptions:
    from vtrack.pipelines.batch.run import DEFAULT_TIMEOUT, BatchOptions

    if args.address and not args.cluster:
        raise UsageError("--address needs --cluster ray")
    return BatchOptions(
        workers=worker_count(args.workers),
        timeout=DEFAULT_TIMEOUT if args.timeout is None else args.timeout,
        split=args.split,
        cluster=(args.address or "auto") if args.cluster else None,
        retry_failed=args.retry_failed,
        fail_fast=args.fail_fast,
    )


def _check_index(out: Path) -> None:
    """Raise `UsageError` if an index would replace a file that is none."""
    from vtrack.pipelines.tables.report.folder import INDEX
    from vtrack.pipelines.tables.report.page import is_ours

    if (out / INDEX).exists() and not is_ours(out / INDEX):
        raise UsageError(f"{out / INDEX} exists already, and is no index of reports; add --overwrite or rename it")


_MOST_BARS = 16
"""Of single workers; those of a large cluster would fill any terminal."""


class _Silence:
    """Says nothing."""

    def __init__(self, batch: BatchRun) -> None:
        self.batch = batch
        self.finished = 0
        self.left = 0

    def show(self, event: Event | Sequence[Video], *, ending: bool) -> None:
        """Take note of what happened."""
        from vtrack.pipelines.batch.workers.dispatch import Finished

        if isinstance(event, Finished):
            self.finished += 1
            self.done(event.worker, event.job.video, self.batch.outcomes[event.job.video])
        elif isinstance(event, Sequence):
            self.left = len(event)

    def done(self, worker: int, video: Video, outcome: VideoOutcome) -> None:
        """A video came to its end."""

    def close(self) -> None:
        """The work is over."""


class _Lines(_Silence):
    """A plain line for each video, for logs."""

    def done(self, worker: int, video: Video, outcome: VideoOutcome) -> None:
        """Say what came of a video."""
        print(f"[{self.finished}/{self.left}] {_line(video, outcome)}", file=sys.stderr, flush=True)


class _Bars(_Silence):
    """For terminals: a bar for the whole, and one for each worker below it."""

    def __init__(self, batch: BatchRun) -> None:
        super().__init__(batch)
        self._whole: Any = None
        self._workers: dict[int, Any] = {}
        self._interrupt_reported = False

    def show(self, event: Event | Sequence[Video], *, ending: bool) -> None:
        """Move the bars."""
        from tqdm import tqdm

        from vtrack.pipelines.batch.workers.dispatch import Progress, Started

        super().show(event, ending=ending)
        if isinstance(event, Sequence):
            if event:
                self._whole = tqdm(total=len(event), desc="all", unit=" videos", position=0, leave=False)
            return
        if isinstance(event, Started) and event.worker < _MOST_BARS:
            bar = self._workers.get(event.worker)
            if bar is None:
                bar = tqdm(unit=" frames", position=event.worker + 1, leave=False)
                self._workers[event.worker] = bar
            bar.total = None
            bar.reset()
            bar.set_description(event.job.name[-40:])
        elif isinstance(event, Progress) and event.worker in self._workers:
            bar = self._workers[event.worker]
            bar.total = event.expected
            bar.update(event.frames - bar.n)
        if ending and not self._interrupt_reported:
            self._interrupt_reported = True
            self._whole.write("finishing what is under way; Ctrl-C again ends it at once", file=sys.stderr)

    def done(self, worker: int, video: Video, outcome: VideoOutcome) -> None:
        """Count a video; failures get a line that stays."""
        self._whole.update()
        if outcome.status == "failed":
            self._whole.write(_line(video, outcome), file=sys.stderr)

    def close(self) -> None:
        """Clear the bars away."""
        for bar in (*reversed(self._workers.values()), self._whole):
            if bar is not None:
                bar.close()


def _display(quiet: bool, batch: BatchRun) -> _Silence:
    if quiet:
        return _Silence(batch)
    return _Bars(batch) if sys.stderr.isatty() else _Lines(batch)


def _line(video: Video, outcome: VideoOutcome) -> str:
    if outcome.status == "failed":
        return f"{video.name}: failed: {outcome.error}"
    warned = f"; {outcome.warnings}" if outcome.warnings else ""
    tracks = "1 track" if outcome.tracks == 1 else f"{outcome.tracks} tracks"
    return f"{video.name}: {outcome.frames} frames, {tracks}, {outcome.fps:.1f} fps{warned}"
