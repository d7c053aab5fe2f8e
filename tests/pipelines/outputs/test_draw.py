"""`draw`: faces on a copy of one image."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.errors import UsageError
from vtrack.pipelines.outputs.drawing.draw import draw
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.query import parse_query


def test_draw_leaves_the_image_as_it_was() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    faces = [make_face(QUERY, 1, 40.0), make_face(parse_query("jaw"), 2, 60.0)]
    drawn = draw(image, faces, kinds="points,boxes")
    assert drawn.shape == image.shape and (image == 90).all() and (drawn != 90).any()
    one = draw(image, faces[0], kinds=["points", "boxes"])
    np.testing.assert_array_equal(one, Drawing(QUERY, {"points", "boxes"})(make_result(0, faces[0], image=image)))
    for nothing in (draw(image, []), draw(image, faces, kinds="none"), draw(image, faces, kinds=[])):
        np.testing.assert_array_equal(nothing, image)
        assert nothing is not image
    with pytest.raises(UsageError, match="no kind of drawing 'hats'"):
        draw(image, faces, kinds="hats")
    with pytest.raises(ValueError, match="image must be uint8"):
        draw(image.astype(float), faces)  # type: ignore[arg-type]
