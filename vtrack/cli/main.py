"""`vtrack`: finds the command, runs it, turns errors into one line and an exit code.

A command is a module of `MODULES` with `add_parser(commands)` and `run(args) -> int`. Commands import what is heavy
inside `run`, so that `vtrack --help` is instant.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from vtrack._version import __version__
from vtrack.cli.options import fill_defaults, remember_defaults
from vtrack.errors import UsageError, VTrackError, settings_as_flags
from vtrack.options import nearest_of
from vtrack.parts import nearest
from vtrack.runtime.streams import fill_closed_streams

MODULES = {
    **{name: name for name in ("run", "batch", "webcam", "parts", "models")},
    **{name: f"tables.{name}" for name in ("refine", "convert", "draw", "compare", "crops", "report", "check")},
    **{name: name for name in ("eval", "train", "export", "bench")},
}
"""The module of each command, below `vtrack.cli`."""
COMMANDS = tuple(MODULES)

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


_REWORDED = (
    (r"argument (\S+?)(?:/\S+)?: invalid int value: (.*)", r"\1 must be a whole number, got \2"),
    (r"argument (\S+?)(?:/\S+)?: invalid float value: (.*)", r"\1 must be a number, got \2"),
    (r"argument (\S+?)(?:/\S+)?: expected one argument", r"\1 needs a value"),
    (r"argument (\S+?)(?:/\S+)?: not allowed with argument (\S+)", r"\1 and \2 exclude each other"),
    (r"one of the arguments (\S+) (\S+) is required", r"\1 or \2 is missing"),
    (r"the following arguments are required: (.*)", r"\1 missing"),
    (r"ambiguous option: (\S+) could match .*", r"\1 could be several options; write it in full"),
    (r"argument (\S+?)(?:/\S+)?: (.*)", r"\1: \2"),
)
"""Messages of argparse, and what is said instead."""
_CHOICE = re.compile(r"argument (\S+?)(?:/\S+)?: invalid choice: '?(.*?)'? \(choose from (.*)\)")


class CommandParser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    commands: Mapping[str, argparse.ArgumentParser] = {}
    """The parser of each command."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        if choice := _CHOICE.fullmatch(message):
            flag, word, choices = choice[1], choice[2], choice[3].replace("'", "").split(", ")
            message = f"there is no {flag} {word!r}; {nearest_of(word, choices)}"
        for pattern, wording in _REWORDED:
            message = re.sub(pattern, wording, message)
        self.exit(USAGE, f"vtrack: {message}; see {self.prog} --help\n")


def build_parser(names: Iterable[str] = COMMANDS) -> CommandParser:
    """The parser of the command line, with these commands alone: making all takes 30 ms."""
    parser = CommandParser(prog="vtrack", description="Track facial landmarks in video.")
    parser.add_argument("--version", action="version", version=f"vtrack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names:
        importlib.import_module(f"vtrack.cli.{MODULES[name]}").add_parser(commands)
        remember_defaults(commands.choices[name])
    parser.commands = commands.choices
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line; raises `UsageError` with a suggestion for a command or option that does not exist."""
    if not words:
        raise UsageError(f"which command? choose from {', '.join(COMMANDS)}; see vtrack --help")
    command = words[0]
    parser = build_parser([command] if command in COMMANDS else COMMANDS)
    if command not in parser.commands and not command.startswith("-"):
        if Path(command).suffix or Path(command).exists():
            raise UsageError(f"there is no command {command!r}; did you mean vtrack run {' '.join(words)}?")
        raise UsageError(f"there is no command {command!r}; {nearest_of(command, COMMANDS)}")
    if command in parser.commands:
        _check_options(parser.commands[command], words[1:])
    args, left = parser.parse_known_args(words)
    if left:
        raise UsageError(_superfluous(args, left))
    return fill_defaults(args)


def _check_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Raise `UsageError` for the first option that a command does not have."""
    known = parser._option_string_actions
    for word in words:
        if word == "--":
            return
        option = word.partition("=")[0]
        if word.startswith("--") and " " not in option and not any(each.startswith(option) for each in known):
            raise UsageError(f"there is no option {option}; {nearest(option, known, see=f'see {parser.prog} --help')}")


def _superfluous(args: argparse.Namespace, words: Sequence[str]) -> str:
    """What to say of arguments that a command does not take."""
    if args.command == "run" and (Path(words[0]).suffix or Path(words[0]).exists()):
        inputs = " ".join([args.input, *words])
        return f"run takes one input, got {words[0]} too; for several: vtrack batch {inputs} -o DIR"
    return f"{args.command} does not take {words[0]!r}; see vtrack {args.command} --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 all well, 1 something failed, 2 wrong usage, 130 interrupted."""
    fill_closed_streams()
    logging.basicConfig(format="vtrack: %(message)s", level=logging.WARNING)
    try:
        with settings_as_flags():
            args = parse(sys.argv[1:] if argv is None else argv)
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
