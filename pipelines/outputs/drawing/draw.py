"""`draw`: faces on one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.settings import OutputSettings
from vtrack.types import Face, Frame, FrameResult, ImageArray, Query


def draw(image: ImageArray, faces: Face | Iterable[Face], *, kinds: Sequence[str] = OutputSettings.draw) -> ImageArray:
    """Draw faces on a copy of an image.

    Args:
        image: (height, width, 3) `uint8` RGB, as in `FrameResult.frame.image`.
        faces: One face, or several: `FrameResult.faces`.
        kinds: What to draw: `points`, `curves`, `boxes`, `ids`, several of them as a list or separated by commas, or `none`.

    Returns:
        (height, width, 3) `uint8` RGB. The image given stays as it was.

    Raises:
        UsageError: A kind that does not exist.
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
    for query in dict.fromkeys(face.query for face in shown):
        same = tuple(face for face in shown if face.query == query)
        picture = _drawing(query, chosen)(FrameResult(Frame(picture, 0, 0, Fraction(1)), same, query))
    return picture


@lru_cache(maxsize=8)
def _drawing(query: Query, kinds: frozenset[str]) -> Drawing:
    return Drawing(query, kinds)
