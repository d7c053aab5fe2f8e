"""`vtrack webcam`: faces in a live picture, in a window, in a browser, in files and in other programs."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.cli.options import add_config_option, add_options, chosen_options, make_settings, refuse
from vtrack.errors import UsageError
from vtrack.pipelines.registry import EMITTERS
from vtrack.pipelines.settings import LiveSettings, Settings, ViewSettings, drawable

if TYPE_CHECKING:
    from vtrack.pipelines.live.recorder import LiveDrawing, LiveRecorder
    from vtrack.pipelines.live.session import LiveResult
    from vtrack.pipelines.outputs.base import Sink

EXAMPLES = """examples:
  vtrack webcam --parts eyes,lips                     this machine's first camera
  vtrack webcam --camera rtsp://host/door --view browser
  vtrack webcam --camera browser --view browser       the camera of whoever opens the page
  vtrack webcam --camera talk.mp4 --record out.mp4 --csv out.csv
  vtrack webcam --emit osc --to 192.168.1.20:9000 --view none
  vtrack webcam --emit ndjson --view none | jq .faces[0].mouth_open
  vtrack webcam --emit vmc --view none                an avatar in VSeeFace, Warudo or Blender

keys in the window: q quit, space pause, s snapshot, 1-9 parts, d drawing, m mirror
"""
VIEWS = ("auto", "window", "browser", "none")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "webcam",
        help="track faces in a live picture",
        description="Track faces in the picture of a camera, a stream, or a file played at its own pace.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--camera", default="0", metavar="SOURCE", help="number, /dev/video0, address, file, or browser (default: 0)"
    )
    parser.add_argument("--loop", action="store_true", help="play a file again and again")
    add_config_option(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so many seconds")

    group = view = parser.add_argument_group("view")
    group.add_argument(
        "--view", default="auto", choices=VIEWS, help="auto: a window where there is a screen, else browser"
    )
    group.add_argument("--no-mirror", action="store_true", help="show the picture as others see it")

    group = parser.add_argument_group("browser view")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    group.add_argument("--port", type=int, default=8008, help="0 for any that is free (default: 8008)")
    group.add_argument("--cert", type=Path, metavar="PEM", help="serve https; browsers lend cameras to no plain http")
    group.add_argument("--key", type=Path, metavar="PEM", help="the certificate's key, if it is not in the same file")
    group.add_argument("--token", help="what the page's address must hold (default: a random one)")
    group.add_argument("--viewers", type=int, default=4, metavar="N", help="pages open at once (default: 4)")
    group.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR", help="folder for recordings")

    group = parser.add_argument_group("outputs")
    group.add_argument("--record", type=Path, metavar="PATH", help="write what is shown as a video")
    group.add_argument("--csv", type=Path, metavar="PATH", help="write a table, measures included; - for stdout")
    group.add_argument(
        "--events", type=Path, metavar="PATH", help="write a table of blinks, winks, squints and closures"
    )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    kinds = ", ".join(f"{kind} ({entry.help})" for kind, entry in EMITTERS.items())
    group.add_argument("--emit", metavar="KIND", help=f"send each frame to other programs: {kinds}")
    group.add_argument(
        "--to",
        metavar="HOST:PORT",
        help="where to, by UDP (default: this machine, ndjson to stdout); lsl needs --to network",
    )
    add_options(parser, LiveSettings, ViewSettings, but=("measures",), groups={"outputs": view})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the camera, show, write and send what it sees."""
    values = _values(args)
    settings, look = make_settings(LiveSettings, values).check_used(args.given), make_settings(ViewSettings, values)

    from vtrack.pipelines.live.camera import camera_opener
    from vtrack.pipelines.live.capture import Capture
    from vtrack.pipelines.live.recorder import LiveDrawing, LiveRecorder, OnDemandRecorder
    from vtrack.pipelines.live.session import LiveSession, LiveThread
    from vtrack.pipelines.live.window import Window
    from vtrack.pipelines.pipeline import Pipeline, check_parts_known
    from vtrack.runtime.threads import interruptible

    view = _choose_view(args.view)
    _check_used(args, view)
    check_parts_known(settings)
    query, draw = settings.query, LiveDrawing(look.draw)
    opener = camera_opener(args.camera, loop=args.loop)
    videos, tables = _sinks(args, settings, draw, clock=lambda: capture.now)
    outputs = len(videos) + len(tables)
    if view == "browser":
        import asyncio

        from vtrack.pipelines.live.browser.access import Access
        from vtrack.pipelines.live.browser.server import BrowserServer

        access = Access(args.host, args.port, args.viewers, args.token, args.cert, args.key)
    pipeline = Pipeline(_with_needs(args, settings, look))
    with ExitStack() as stack:
        stop = stack.enter_context(interruptible())
        capture = Capture(opener, stop)
        session = LiveSession(pipeline, capture)
        recorder = stack.enter_context(LiveRecorder(videos, tables, session.report))
        stack.enter_context(capture)
        if tables:
            session.record(query)
        if args.seconds is not None:
            timer = threading.Timer(args.seconds, stop.set)
            timer.daemon = True
            timer.start()
        on_demand = OnDemandRecorder(session, draw, args.output)

        def record(result: LiveResult) -> None:
            recorder.write(result)
            on_demand.write(result)
            if view == "none" and recorder.idle and outputs:
                stop.set()  # every output has failed, and nobody watches

        with on_demand, LiveThread(session, record) as worker:
            if view == "window":
                Window(session, draw, mirror=not args.no_mirror).run(worker.latest, _say)
            elif view == "browser" and capture.wait_until_open():
                server = BrowserServer(session, worker.latest, draw, on_demand, access, mirror=not args.no_mirror)
                asyncio.run(server.run(lambda address: _say(f"open {address}")))
            else:
                worker.wait()
    _say(f"{worker.frames} frames, {capture.skipped} skipped{_unsent(tables)}")
    return _conclude(recorder)


def _values(args: argparse.Namespace) -> dict[str, Any]:
    """What was chosen on the command line and in the configuration file, by the names of settings."""
    values = chosen_options(args, LiveSettings, ViewSettings)
    if args.emit in EMITTERS and EMITTERS[args.emit].parts:
        values.setdefault("parts", EMITTERS[args.emit].parts)
    return values


def _with_needs(args: argparse.Namespace, settings: LiveSettings, look: ViewSettings) -> Settings:
    """The settings with all that the view and the stream to other programs need."""
    needs: dict[str, Any] = {} if args.emit is None else dict.fromkeys(EMITTERS[args.emit].needs, True)
    return replace(drawable(settings, look), **needs)


def _unsent(sinks: list[Sink]) -> str:
    """How many datagrams were not sent, for the summary."""
    from vtrack.pipelines.outputs.streams.udp import UdpStream

    dropped = sum(sink.dropped for sink in sinks if isinstance(sink, UdpStream))
    return f", {dropped} datagrams not sent" if dropped else ""


def _conclude(recorder: LiveRecorder) -> int:
    """Say what was written and return the exit code."""
    from vtrack.cli.main import FAILED, OK

    for path in recorder.written:
        _say(f"wrote {path}")
    if recorder.failures:
        return FAILED
    if recorder.reader_left:
        raise BrokenPipeError  # `main` ends the process without another write to the stream
    return OK


_OF_PAGE = ("host", "port", "cert", "key", "token", "viewers", "output")
"""Options that mean nothing without the page."""


def _check_used(args: argparse.Namespace, view: str) -> None:
    """Refuse options that change nothing here."""
    if args.camera == "browser" and view != "browser":
        raise UsageError("--camera browser needs the page; add --view browser")
    if not args.emit:
        refuse(args, ["to"], f"applies to --emit only; add --emit {' or '.join(EMITTERS)}")
    if not Path(args.camera).is_file():
        refuse(args, ["loop"], "applies to a file only; add --camera FILE")
    if args.record is None and args.csv is None and args.events is None:
        refuse(args, ["overwrite"], "applies to outputs only; add --record, --csv or --events")
    if view != "browser":
        refuse(args, _OF_PAGE, "applies to the page only; add --view browser")
    if not args.cert:
        refuse(args, ["key"], "applies to a certificate only; add --cert")
    if view == "none":
        refuse(args, ["no_mirror"], "has no effect with --view none; leave it out")
        if args.record is None:
            refuse(args, ["draw"], "applies to what is shown or recorded only; add --record or another --view")


def _sinks(
    args: argparse.Namespace, settings: LiveSettings, draw: LiveDrawing, clock: Callable[[], float]
) -> tuple[list[Sink], list[Sink]]:
    """What gets the points that are shown, and what gets those that stay the same."""
    from vtrack.pipelines.outputs.base import check_outputs
    from vtrack.pipelines.outputs.paths import checked_path
    from vtrack.pipelines.outputs.stdout import STDOUT
    from vtrack.pipelines.outputs.streams.emitter import open_emitter
    from vtrack.pipelines.outputs.tables.csv import open_table
    from vtrack.pipelines.outputs.tables.events import EventTable
    from vtrack.pipelines.outputs.video import VideoSink

    for name, path in (("csv", args.csv), ("events", args.events)):
        if path is None:
            continue
        checked_path(name, path, others=())
        if path == STDOUT and args.emit == "ndjson" and args.to is None:
            raise UsageError(f"--{name} - and --emit ndjson would both go to stdout; give one of them another place")
    query, columns = settings.query, settings.measured_groups
    outputs = [path for path in (args.record, args.csv, args.events) if path is not None]
    check_outputs(outputs, source=args.camera, overwrite=args.overwrite)
    videos: list[Sink] = [] if args.record is None else [VideoSink(args.record, draw=draw, fragmented=True)]
    tables: list[Sink] = [] if args.csv is None else [open_table(args.csv, query, columns=columns)]
    tables += [] if args.events is None else [EventTable(args.events, query)]
    if args.emit is not None:
        tables.append(open_emitter(args.emit, args.to, settings, sys.stdout, clock))
    return videos, tables


def _choose_view(asked: str) -> str:
    """The view to use."""
    from vtrack.pipelines.live.window import has_display

    if asked == "window" and not has_display():
        raise UsageError("there is no screen here to show a window on; use --view browser")
    return ("window" if has_display() else "browser") if asked == "auto" else asked


def _say(text: str) -> None:
    print(text, file=sys.stderr)
