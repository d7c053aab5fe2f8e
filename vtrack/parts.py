"""The parts of a face: named curves, each with its phrase for the text encoder, its default points and its mirror image.

Positions along a part go from 0 to 1. A closed part ends where it starts, so 0 and 1 are the same point. Curves that run across
the face go from the image's left to its right, curves that run down it from top to bottom, closed ones clockwise on
screen from their leftmost point. Left and right are the image's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vtrack.errors import NameNotAskedError, QueryError, spelled


@dataclass(frozen=True, slots=True)
class Part:
    """One named curve (or single point) on the face."""

    name: str
    phrase: str
    """Text that the sentence encoder embeds."""
    count: int
    """Default number of points."""
    closed: bool = False
    pivot: float = 1.0
    """In a mirrored face, position p becomes `pivot - p` of the mirror part; with 0 it stays p."""

    @property
    def mirror(self) -> str:
        """The part that this one becomes when the image is flipped."""
        for side, other in (("left_", "right_"), ("right_", "left_")):
            if self.name.startswith(side):
                return other + self.name.removeprefix(side)
        return self.name

    def mirrored(self, position: float) -> float:
        """Position on the mirror part after a flip."""
        if self.pivot == 0.0:
            return position
        reflected = self.pivot - position
        return reflected % 1.0 if self.closed else reflected

    def positions(self, count: int | None = None) -> tuple[float, ...]:
        """`count` distinct evenly spaced positions; a closed part leaves out its end, which is its start again."""
        count = self.count if count is None else count
        if count < 1:
            raise QueryError(f"{self.name}: a part needs at least 1 point, got {count}")
        if self.closed:
            return tuple(i / count for i in range(count))
        if count == 1:
            # One point of a curve is its middle; single-point parts are trained at 0.
            return (0.0,) if self.count == 1 else (0.5,)
        return tuple(i / (count - 1) for i in range(count))


def _pair(name: str, phrase: str, count: int, *, closed: bool = False, pivot: float = 1.0) -> list[Part]:
    """The left and the right one of a part that a face has twice."""
    sides = ("left", "right")
    return [Part(f"{side}_{name}", phrase.format(side=side), count, closed=closed, pivot=pivot) for side in sides]


# An eye's or lip's corners lie at 0 and 1/2, a brow's tip at 0 and its inner top at 4/9 (the UDFLD paper, tables 8-11), so a
# flip turns position p into 1/2 - p or 4/9 - p. Curves that run down the face keep their positions (pivot 0).
_EVERY: tuple[Part, ...] = (
    Part("jaw", "face contour", 17),
    *_pair("brow", "{side} eyebrow", 9, closed=True, pivot=4 / 9),
    Part("nose_bridge", "nose bridge", 4, pivot=0.0),
    Part("nose_base", "nose boundary", 7),
    *_pair("eye", "{side} eye", 8, closed=True, pivot=0.5),
    Part("outer_lip", "outer lip", 12, closed=True, pivot=0.5),
    Part("inner_lip", "inner lip", 8, closed=True, pivot=0.5),
    *_pair("pupil", "{side} eye pupil", 1, pivot=0.0),
    *_pair("brow_center", "middle of {side} eyebrow", 1, pivot=0.0),
    *_pair("eye_center", "middle of {side} eye", 1, pivot=0.0),
    Part("mouth_center", "middle of mouth", 1, pivot=0.0),
    *_pair("iris", "{side} eye iris", 8, closed=True, pivot=0.5),
    *_pair("eyelid_crease", "{side} upper eyelid crease", 5),
    *_pair("under_eye", "{side} under eye line", 3),
    *_pair("nose_side", "{side} side of nose", 4, pivot=0.0),
    *_pair("nose_ridge", "{side} ridge of nose", 5, pivot=0.0),
    *_pair("nostril", "{side} nostril", 3),
    *_pair("philtrum", "{side} philtrum ridge", 2, pivot=0.0),
    *_pair("smile_line", "{side} smile line from nose to mouth", 3, pivot=0.0),
    *_pair("cheek", "{side} cheekbone", 3),
    Part("chin_crease", "crease below lower lip", 3),
    Part("chin", "middle line of chin", 4, pivot=0.0),
    Part("hairline", "hairline of forehead", 11),
    Part("hair", "outline of hair", 11),
    *_pair("ear", "outer rim of {side} ear", 5, pivot=0.0),
    *_pair("ear_base", "base of {side} ear", 5, pivot=0.0),
    Part("neck", "neck", 4),
)

# The curves of mediapipe's face mesh. They lie where the mesh is, not where people mark the part of the same name, so they
# are parts of their own: a model can learn them without changing the others.
_MESH: tuple[Part, ...] = (
    Part("mesh_jaw", "mesh face contour", 23),
    Part("mesh_forehead", "mesh forehead", 13),
    *_pair("mesh_brow", "mesh {side} eyebrow", 5),
    *_pair("mesh_low_brow", "mesh {side} eyebrow lower edge", 5),
    Part("mesh_nose_line", "mesh nose bridge", 9, pivot=0.0),
    Part("mesh_nose_base", "mesh nose boundary", 11),
    *_pair("mesh_eye", "mesh {side} eye", 16, closed=True, pivot=0.5),
    *_pair("mesh_eyelid", "mesh {side} eyelid", 16, closed=True, pivot=0.5),
    Part("mesh_outer_lip", "mesh outer lip", 20, closed=True, pivot=0.5),
    Part("mesh_inner_lip", "mesh inner lip", 20, closed=True, pivot=0.5),
)

PARTS: dict[str, Part] = {part.name: part for part in (*_EVERY, *_MESH)}

ENDS: dict[str, dict[float, tuple[str, float]]] = {"chin": {0.0: ("chin_crease", 0.5), 1.0: ("jaw", 0.5)}}
"""Ends of a part that no data set marks as its own, and the points of other parts that they are. Data sets mark two points of
the middle line of the chin; a line drawn on through them turns about like a needle.
"""

MIDDLES: dict[str, tuple[tuple[str, float], ...]] = {
    f"{side}_brow_center": ((f"{side}_brow", 2 / 9), (f"{side}_brow", 6.7 / 9)) for side in ("left", "right")
}
"""Parts that no data set of the shipped models marks, and points whose mean they are: a brow's upper and lower edge."""

_PORTRAIT = (
    *("left_ear", "right_ear", "left_ear_base", "right_ear_base", "hair", "neck"),
    *("left_smile_line", "right_smile_line", "left_cheek", "right_cheek"),
)

GROUPS: dict[str, tuple[str, ...]] = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "lips": ("outer_lip", "inner_lip"),
    "nose": ("nose_bridge", "nose_base"),
    "pupils": ("left_pupil", "right_pupil"),
    "face": (
        *("jaw", "left_brow", "right_brow", "nose_bridge", "nose_base", "left_eye", "right_eye"),
        *("outer_lip", "inner_lip", "left_pupil", "right_pupil"),
    ),
    "irises": ("left_iris", "right_iris"),
    "ears": ("left_ear", "right_ear"),
    "portrait": _PORTRAIT,
    "all": tuple(part.name for part in _EVERY if part.name not in _PORTRAIT),
}
"""Names for several parts at once. A single part needs no group: `jaw` is itself a part. The parts of mediapipe's mesh
are in none, they only come when they are named. Those of `portrait` are marked on studio portraits alone: on heads turned by
more than 30 degrees they lie 0.2 to 0.5 of the eyes' distance astray, so `all` is without them.
"""


_OF_MESH = "mesh_"


def is_of_mesh(name: str) -> bool:
    """Whether a part is a curve of mediapipe's mesh."""
    return _OF_MESH in name


def plain(name: str) -> str:
    """The part that corresponds to a part of mediapipe's mesh; other names unchanged."""
    return name.replace(_OF_MESH, "")


def find_part(name: str) -> Part:
    """The part of this name.

    Raises:
        QueryError: There is no such part; the message suggests similar names.
    """
    if name not in PARTS:
        raise QueryError(f"there is no part called {name!r}; {nearest(name, PARTS)}")
    return PARTS[name]


# Other names that people use for parts.
_SYNONYMS = {
    **dict.fromkeys(("mouth", "lip"), "lips"),
    **dict.fromkeys(("eyebrows", "eyebrow", "brow"), "brows"),
    **dict.fromkeys(("left_eyebrow", "right_eyebrow"), "brows"),
    **dict.fromkeys(("jawline", "contour", "face_contour", "cheeks"), "jaw"),
    **dict.fromkeys(("eye", "eyelids"), "eyes"),
    "pupil": "pupils",
    "iris": "irises",
    **dict.fromkeys(("forehead", "head"), "hairline"),
    **dict.fromkeys(("everything", "full"), "all"),
}


def nearest(name: str, known: Iterable[str], *, see: str = "`vtrack parts` lists them all") -> str:
    """The hint after an unknown name: similar names, and where to see all.

    Args:
        name: The unknown name.
        known: The names that exist.
        see: Where to see all.
    """
    known = list(known)
    word = name.lower().replace(" ", "_")
    meant = _SYNONYMS.get(word)
    near = [meant] if meant in known else difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}? {see}" if near else see


def check_part_name(part: object, what: str) -> None:
    """Raise `TypeError` for what is no name, such as the number in `face[0]`."""
    if not isinstance(part, str):
        raise TypeError(f'{what}[...] takes the name of a part or group, {what}["left_eye"]; got {part!r}')


def not_asked(part: str, parts: Sequence[str], *, measured: bool = False) -> NameNotAskedError:
    """The error for a part that is not among those of a result; `measured` if a measure has this name."""
    asked = tuple(dict.fromkeys(parts))
    if measured:
        return NameNotAskedError(f'{part!r} is a measure; read it as face.measures["{part}"]')
    if part in PARTS or part in GROUPS:
        return NameNotAskedError(f"{part!r} was not asked for; add it to {spelled('parts')} (here {', '.join(asked)})")
    see = f"the parts here are {', '.join(asked)}"
    return NameNotAskedError(f"there is no part {part!r}; {nearest(part, (*asked, *GROUPS), see=see)}")
