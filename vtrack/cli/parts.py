"""`vtrack parts`: what can be asked for, and where it lies on a face."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.cli.options import refuse
from vtrack.errors import UsageError

if TYPE_CHECKING:
    from vtrack.template import Union
    from vtrack.types import Query

EXAMPLE = """examples:
  vtrack parts                               list parts, groups and layouts
  vtrack parts --map face.png                draw them all on a face
  vtrack parts "lips:40,jaw@0.25..0.75:12"   show what a query asks for
  vtrack parts --fit w68:data/w68.zip --fit mine.toml:data/mine.zip
                                             work out positions for a layout of your own"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "parts",
        help="list the parts of a face, groups and layouts, and draw a map of them",
        description="List the parts of a face, groups and layouts, or show what a query asks for.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("query", nargs="?", help="what to track, for example eyes,lips:40; its points are shown")
    add("--map", type=Path, metavar="OUT.png", help="draw a labelled face map of all parts, or of the query's")
    add("--fit", action="append", default=[], metavar="NAME:PATH", help="unite the mean shapes of data sets (300w or "
        "w68 among them) and compare the positions in layout files with those computed; repeat")  # fmt: skip
    add("--overwrite", action="store_true", help="replace the picture if it exists")
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, draw, or compute."""
    from vtrack.query import parse_query

    if not args.map:
        refuse(args, ["overwrite"], "applies to the picture only; add --map")
        if args.fit and args.query:
            raise UsageError("--fit takes whole data sets; leave out the query, or add --map to draw it")
    query = parse_query(args.query) if args.query else None
    if args.fit:
        content, text = _fit(args.fit)
    elif query:
        content, text = _asked(query)
    else:
        content, text = _everything()
    if args.map:
        from vtrack.facemap import draw_map
        from vtrack.imaging.png import save_png

        save_png(draw_map(query), args.map, overwrite=args.overwrite)
    print(json.dumps(content, indent=2) if args.json else text)
    return 0


def _everything() -> tuple[dict[str, Any], str]:
    """All parts, groups and layouts, as data and as text."""
    from vtrack.layouts import layout_names, load_layout
    from vtrack.parts import GROUPS, PARTS

    layouts = [load_layout(name) for name in layout_names()]
    parts = [
        {"name": part.name, "phrase": part.phrase, "points": part.count, "closed": part.closed, "mirror": part.mirror}
        for part in PARTS.values()
    ]
    content = {
        "parts": parts,
        "groups": {name: list(members) for name, members in GROUPS.items()},
        "layouts": [{"name": each.name, "title": each.title, "points": len(each)} for each in layouts],
    }
    lines = ["parts (points by default, o: closed)"]
    lines += [f"  {p.name:22} {p.count:3} {'o' if p.closed else ' '}  {p.phrase}" for p in PARTS.values()]
    lines += ["", "groups"]
    groups = {name: ", ".join(members) for name, members in GROUPS.items()} | {
        "all": "every part but the mesh's and those of portrait"
    }
    lines += [f"  {name:22} {members}" for name, members in groups.items()]
    lines += ["", "layouts"]
    lines += [f"  {each.name:22} {each.title}" for each in layouts]
    lines += ["", "ask for them as in: eyes   lips:40   jaw@0.25..0.75:12   left_eye@0,0.5   300w"]
    return content, "\n".join(lines)


def _asked(query: Query) -> tuple[dict[str, Any], str]:
    """The points of a query."""
    rows = list(zip(query.names, query.parts, query.positions, strict=True))
    content = {"points": [{"name": name, "part": part, "position": position} for name, part, position in rows]}
    lines = [f"{len(rows)} points", *(f"  {name:26} {part:22} {position:.4f}" for name, part, position in rows)]
    return content, "\n".join(lines)


def _fit(specs: list[str]) -> tuple[dict[str, Any], str]:
    """The unified template of data sets: lengths of parts, spread of clusters, positions against the files'."""
    from vtrack.data import load_dataset
    from vtrack.data.shapes import mean_shape
    from vtrack.template import unite

    sets = [load_dataset(spec, "all") for spec in specs]
    union = unite({data.layout.name: (data.layout, mean_shape(data.points)) for data in sets})
    rows = []
    for data in sets:
        query, found = data.layout.query, union.positions[data.layout.name]
        for i, (part, written) in enumerate(zip(query.parts, query.positions, strict=True)):
            rows.append((data.layout.name, i + 1, part, written, float(found[i])))
    names = ("layout", "point", "part", "written", "computed")
    parts = _parts_of(union)
    content = {"parts": parts, "positions": [dict(zip(names, row, strict=True)) for row in rows]}
    lines = ["part                     N   spread of clusters, % of the eye corners' distance"]
    lines += [f"  {name:22} {p['length']:3}   {_dash(p['spread_percent'])}" for name, p in parts.items()]
    lines += ["", "layout      point  part                   written  computed"]
    lines += [f"{name:12} {i:4}  {part:22} {written:7.3f}  {found:8.3f}" for name, i, part, written, found in rows]
    return content, "\n".join(lines)


def _parts_of(union: Union) -> dict[str, dict[str, Any]]:
    return {
        part: {
            "length": length,
            # NaN, where no cluster has two members, is no JSON.
            "spread_percent": round(100 * union.spreads[part], 2)
            if union.spreads[part] == union.spreads[part]
            else None,
        }
        for part, length in union.lengths.items()
    }


def _dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
