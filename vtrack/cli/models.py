"""`vtrack models`: the landmark models at hand."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vtrack.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from vtrack.models.card import Card

_LARGEST = 6
"""Data sets whose errors are shown of a model."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "models",
        help="list the landmark models",
        description="List the landmark models that come with vtrack: what each is, how large, and how far its points lie "
        "from those that people marked. Errors are means over validation photographs, in percent of the distance "
        "between the outer eye corners.",
        epilog="examples:\n  vtrack models\n  vtrack models fast --card\n  vtrack models --check\n"
        "  vtrack models models/mine.json --add-checksums",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="only this model; the .json of your own, too")
    parser.add_argument("--card", action="store_true", help="print whole cards as JSON: how a model was trained and on "
        "what, its terms and all its scores")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare the files of each model, and of the face detector, with "
        "the checksums on its card")  # fmt: skip
    what.add_argument(
        "--add-checksums", action="store_true", help="write the checksums of a model's files into its card"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list, or cards; check files, or write their checksums."""
    from dataclasses import asdict

    from vtrack.models import card_path
    from vtrack.models.card import read_card, shipped

    if args.add_checksums and not args.name:
        raise UsageError("--add-checksums needs the model's name or the path of its card")
    if args.add_checksums:
        return _add_checksums(card_path(args.name))
    if args.check:
        return _check(args.name)
    paths = [card_path(name) for name in ((args.name,) if args.name else shipped())]
    cards = [read_card(path) for path in paths]
    if args.card:
        whole = [asdict(card) for card in cards]
        print(json.dumps(whole[0] if args.name else whole, indent=2))
        return 0
    rows = [_row(card, path) for card, path in zip(cards, paths, strict=True)]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        sizes = ", ".join(f"{size:.1f} MB in {of}" for of, size in row["megabytes"].items())
        print(f"{row['name']:10} {row['system']}, {row['input_size'] or 'any'} px, {sizes}: {row['summary']}")
        errors = ", ".join(f"{name} {error:.2f}" for name, error in list(row["errors"].items())[:_LARGEST])
        print(f"{'':10} error in % of the eyes' distance: {errors or 'not measured'}")
    return 0


def _check(name: str | None) -> int:
    """Check one model, or all that are shipped; 1 if a file is not the one that its card describes."""
    from vtrack.detectors.native import NATIVE_CARD
    from vtrack.models import card_path, shipped
    from vtrack.models.card import read_card
    from vtrack.models.checksums import check_files

    faults = 0
    for path in [card_path(name)] if name else [*map(card_path, shipped()), NATIVE_CARD]:
        card = read_card(path)
        wrong = check_files(card, path)
        for fault in wrong:
            print(fault)
        if not wrong:
            print(f"{card.name}: {len(card.checksums)} files, all as their card says")
        faults += len(wrong)
    return int(faults > 0)


def _add_checksums(path: Path) -> int:
    """Write the checksums of a model."""
    from vtrack.models.checksums import add_checksums

    print(f"{path}: {', '.join(add_checksums(path).checksums)}")
    return 0


def _row(card: Card, path: Path) -> dict[str, Any]:
    """What the list says of a model."""
    from vtrack.models.engines.registry import INT8

    files = {"floats": path.with_suffix(".safetensors"), "int8": path.with_suffix(INT8)}
    return {
        "name": card.name,
        "system": card.system,
        "input_size": card.config.get("input_size"),
        "summary": card.summary,
        "megabytes": {of: round(file.stat().st_size / 1e6, 1) for of, file in files.items() if file.exists()},
        "errors": card.errors,
    }
