"""`vtrack`: finds the command, runs it, turns errors into one line and an exit code.

A command is a module of this package with `add_parser(commands)` and `run(args) -> int`. Commands import what is heavy
inside `run`, so that `vtrack --help` is instant.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from vtrack._version import __version__
from vtrack.cli.options import fill_defaults, remember_defaults
from vtrack.errors import UsageError, VTrackError

COMMANDS = (
    "run",
    "batch",
    "webcam",
    "parts",
    "models",
    "eval",
    "train",
    "export",
    "bench",
)

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="vtrack", description="Track facial landmarks in video.")
    parser.add_argument("--version", action="version", version=f"vtrack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"vtrack.cli.{name}").add_parser(commands)
        remember_defaults(commands.choices[name])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 all well, 1 something failed, 2 wrong usage, 130 interrupted."""
    args = fill_defaults(build_parser().parse_args(argv))
    logging.basicConfig(format="vtrack: %(message)s", level=logging.WARNING)
    try:
        code: int = args.run(args)
    except UsageError as error:
        print(f"vtrack: {error}", file=sys.stderr)
        code = USAGE
    except VTrackError as error:
        print(f"vtrack: {error}", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        print("vtrack: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`head`, a pager) has left; that is its right. Python's own flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    return code


if __name__ == "__main__":
    sys.exit(main())
