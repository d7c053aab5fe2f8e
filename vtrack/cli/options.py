"""Options of the command line: made from settings and read back; which were given; which do not apply."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

from vtrack.errors import UsageError
from vtrack.options import Checked, Option, default_of, flag_of, option_of, split_names, words
from vtrack.pipelines.config import read_config

Made = TypeVar("Made", bound=Checked)

MOST_CHOICES = 9
"""Choices that `--help` lists; more would fill the screen."""


def add_options(
    parser: argparse.ArgumentParser,
    *kinds: type[Checked],
    only: Collection[str] = (),
    but: Collection[str] = (),
    groups: Mapping[str, argparse._ActionsContainer] | None = None,
    default: str = "",
) -> None:
    """Add an option for each setting of these classes, below the title of its group.

    `only` and `but` name settings; `groups` are those that the parser has already; `default` is what help says of all
    defaults instead. What is not given is absent from the namespace afterwards.
    """
    known: dict[str, argparse._ActionsContainer] = {"": parser, **(groups or {})}
    for kind in kinds:
        for field in fields(kind):  # type: ignore[arg-type]
            option = option_of(field)
            if option.flag is None or field.name in but or (only and field.name not in only):
                continue
            if option.group not in known:
                known[option.group] = parser.add_argument_group(option.group)
            _add(known[option.group], field, option, default)


def _add(group: argparse._ActionsContainer, field: Field[Any], option: Option, default: str) -> None:
    flag, help = flag_of(field), _help(field, option, default)
    if option.kind is bool:
        group.add_argument(flag, dest=field.name, action="store_true", default=argparse.SUPPRESS, help=help)
    elif option.kind is dict:
        # One for each name would fill the screen; one line stands for all.
        prefix = flag.rpartition(".")[0]
        group.description = f"`{flag} {option.metavar}`: {help}"
        for name in option.choices:
            group.add_argument(
                f"{prefix}.{name}", dest=f"{field.name}.{name}", type=float, default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )  # fmt: skip
    else:
        group.add_argument(
            flag, dest=field.name, default=argparse.SUPPRESS, metavar=option.metavar, help=help,
            type=_reader(option), action="extend" if option.kind is tuple else "store",
        )  # fmt: skip


def _reader(option: Option) -> Callable[[str], Any]:
    """What makes the value of a word."""
    if option.kind is tuple:
        return lambda text: split_names(text) or ("",)
    if option.parse is None:
        kind: type[int | float | str | Path] = option.kind
        return kind
    return reader(option.parse)


def reader(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same function for argparse, which then says what a `UsageError` says."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _help(field: Field[Any], option: Option, shown: str) -> str:
    """Help, choices, range and default in a line; `shown` stands for the default, unless it is empty."""
    text, default = option.help, default_of(field)
    if 0 < len(option.choices) <= MOST_CHOICES:
        listed = [*option.choices, *["none"] * option.none]
        text += f": {', '.join(listed) if option.kind is tuple else words(listed)}"
    if option.kind in (int, float) and option.range:
        text += f", {option.range}"
    if shown or default not in (None, False, (), {}):
        number = f"{default:g}" if option.kind is float and default is not None else default
        text += f" (default: {shown or (','.join(default) if isinstance(default, tuple) else number)})"
    return text.replace("%", "%%")


def given_options(args: argparse.Namespace, *kinds: type[Checked]) -> dict[str, Any]:
    """The settings of these classes that were given on the command line."""
    given: dict[str, Any] = {}
    for kind in kinds:
        for field in fields(kind):  # type: ignore[arg-type]
            if option_of(field).kind is dict:
                start = f"{field.name}."
                named = {
                    name.removeprefix(start): value for name, value in vars(args).items() if name.startswith(start)
                }
                given |= {field.name: named} if named else {}
            elif field.name in args.given:
                given[field.name] = getattr(args, field.name)
    return given


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """`--config`."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings from a .toml file, or from an output's .meta.json to repeat "
        "its run; options given here win over it",
    )  # fmt: skip


def chosen_options(args: argparse.Namespace, *kinds: type[Checked]) -> dict[str, Any]:
    """The settings of these classes in the configuration file, if there is one, and on the command line, which wins."""
    given = given_options(args, *kinds)
    if args.config is None:
        return given
    file = read_config(args.config, *kinds)
    for name, value in given.items():
        file[name] = {**file.get(name, {}), **value} if isinstance(value, dict) else value
    return file


def worker_count(text: str) -> int | None:
    """What `--workers` says: a number, or None for `auto`, one for each core."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError(f"--workers is a number or auto, not {text!r}")
    return int(text)


def remember_defaults(parser: argparse.ArgumentParser) -> None:
    """Take the defaults out of a parser, so that `fill_defaults` can tell what was given from what was not."""
    defaults = {}
    for action in parser._actions:
        if action.default is not argparse.SUPPRESS:
            read: Any = action.type
            word = isinstance(action.default, str) and callable(read)
            defaults[action.dest] = read(action.default) if word else action.default
            if action.help:
                action.help = action.help.replace("%(default)s", str(action.default))
            action.default = argparse.SUPPRESS
    parser.set_defaults(defaults=defaults)


def fill_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """Put the defaults back; `args.given` are the names of what was given."""
    values = dict(vars(args))
    defaults = values.pop("defaults")
    return argparse.Namespace(**{**defaults, **values, "given": frozenset(values)})


def refuse(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Raise `UsageError` for the first of these options that was given: `--NAME {why}`."""
    for name in names:
        if name in args.given:
            raise UsageError(f"--{name.replace('_', '-')} {why}")


def make_settings(kind: type[Made], values: Mapping[str, Any]) -> Made:
    """The settings of one class out of values for several."""
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})  # type: ignore[arg-type]
