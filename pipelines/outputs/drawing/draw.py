"""`draw`: faces on one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.registry import DRAWN_GROUPS
from vtrack.pipelines.settings import OutputSettings
from vtrack.types import Face, Frame, FrameResult, ImageArray, Query


def draw(image: ImageArray, faces: Face | Iterable[Face], *, kinds: Sequence[str] = OutputSettings.draw) -> ImageArray:
    """Draw faces on a copy of an image.

    Args:
        image: (height, width, 3) `uint8` RGB, as in `FrameResult.frame.image`.
        faces: One face, or several: `FrameResult.faces`.
        kinds: What to draw: `points`, `curves`, `wireframe`, `boxes`, `ids`, `axes`, `expressions`, `black` (a black image in
            place of the one given), several of them as a list or separated by commas, or `none`. Axes and bars of expressions
            are of faces whose pose and expressions were asked for; axes belong on their own frame.

    Returns:
        (height, width, 3) `uint8` RGB. The image given stays as it was.

    Raises:
        UsageError: A kind that does not exist, or axes or expressions of faces without them.
        ValueError: The image is not `uint8` RGB.

    Examples:
        >>> import vtrack
        >>> result = next(vtrack.track("samples/sample.mp4", parts="eyes,lips"))
        >>> annotated = vtrack.draw(result.frame.image, result.faces, kinds="curves,boxes")
        >>> annotated.shape == result.frame.image.shape, (annotated != result.frame.image).any()
        (True, np.True_)
    """
    chosen = frozenset(OutputSettings(draw=kinds).draw)
    picture = Frame(image, 0, 0, Fraction(1)).image.copy()
    shown = (faces,) if isinstance(faces, Face) else tuple(faces)
    for kind, group in DRAWN_GROUPS.items():
        if kind in chosen and any(getattr(face, group) is None for face in shown):
            raise UsageError(f"{kind} are drawn of faces that have them; track with {spelled(group, True)}")
    for query in dict.fromkeys(face.query for face in shown):
        same = tuple(face for face in shown if face.query == query)
        picture = _drawing(query, chosen)(FrameResult(Frame(picture, 0, 0, Fraction(1)), same, query))
    return picture


@lru_cache(maxsize=8)
def _drawing(query: Query, kinds: frozenset[str]) -> Drawing:
    return Drawing(query, kinds)
