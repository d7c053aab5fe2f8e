"""`vtrack models`: the landmark models at hand."""

from __future__ import annotations

import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "models",
        help="list the landmark models",
        description="List the landmark models that come with vtrack, or show the card of one.",
        epilog="example:\n  vtrack models fast",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="show this model's card")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list or the card."""
    import json
    from dataclasses import asdict

    from vtrack.models.card import WEIGHTS, read_card, shipped

    names = (args.name,) if args.name else shipped()
    cards = [read_card(WEIGHTS / f"{name}.json") for name in names]
    if args.json or args.name:
        shown = [asdict(card) for card in cards]
        print(json.dumps(shown[0] if args.name else shown, indent=2))
        return 0
    for card in cards:
        size = (WEIGHTS / f"{card.name}.safetensors").stat().st_size / 1e6
        print(f"{card.name:10} {card.system:8} {card.config['input_size']:4} px {size:6.1f} MB  {card.summary}")
    return 0
