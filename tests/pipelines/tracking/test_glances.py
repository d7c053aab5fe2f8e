"""Key frames that are only glanced at, since all faces are known: which, and what is found and missed by it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel
from tests.pipelines.tracking.test_offline import QUERY, backdrop, follow, frames_of, two_scenes
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.landmarks import Landmarker
from vtrack.pipelines.tracking.offline import OfflineFollower
from vtrack.types import Detections, Frame


@dataclass
class GlancingDetector(ToyDetector):
    """Glances at frames, too, and does not see small faces then."""

    glances: list[int] = field(default_factory=list)
    """Index of every frame that it glanced at."""
    smallest: float = 45
    """Side of the smallest face in pixels that it sees at a glance."""

    def glance(self, frame: Frame) -> Detections:
        """The large faces of a frame."""
        self.glances.append(frame.index)
        found = self._detect(frame.image)
        large = found.boxes[:, 2:].max(1) >= self.smallest
        return Detections(found.boxes[large], found.scores[large], found.angles[large])


def test_where_faces_are_known_three_key_frames_of_four_are_glanced_at() -> None:
    detector = GlancingDetector()
    results, _ = follow(lambda i: [ToyFace((60 + 0.7 * i, 90), 60)], 150, detector=detector)
    assert all(list(faces) == [0] for _, faces in results)
    assert detector.glances == [*(frame for frame in range(27, 145, 9) if frame % 36), 149]
    # The scene's first frames, and where filters are rebuilt.
    assert sorted(detector.calls) == [0, 9, 18, 36, 72, 108, 144]


def test_a_new_face_seen_at_a_glance_is_searched_for_at_once_and_a_small_one_soon() -> None:
    known, large, small = (
        ToyFace((70, 90), 60, blue=60),
        ToyFace((220, 90), 50, blue=180),
        ToyFace((220, 90), 36, blue=180),
    )
    for new, until in ((large, 58), (small, 73)):
        detector = GlancingDetector()
        results, _ = follow(lambda i, new=new: [known, new] if i >= 55 else [known], 120, detector=detector)  # type: ignore[misc]
        found = [frame.index for frame, faces in results if 1 in faces]
        assert 55 <= found[0] <= until and found == list(range(found[0], 120))
        assert all(0 in faces for _, faces in results)


def test_a_face_that_a_glance_misses_is_searched_for() -> None:
    detector = GlancingDetector(smallest=55)
    results, _ = follow(lambda i: [ToyFace((150, 90), 60 if i < 50 else 50)], 120, detector=detector)
    assert all(list(faces) == [0] for _, faces in results)
    missed = [i for i in detector.glances if i >= 50]
    assert missed and set(missed) <= set(detector.calls)


def test_small_faces_and_new_scenes_are_not_glanced_at() -> None:
    detector = GlancingDetector(smallest=0)
    follow(lambda i: [ToyFace((70, 90), 60, blue=60), ToyFace((220, 90), 12, blue=180)], 60, detector=detector)
    assert not detector.glances
    cut = 67
    frames = mark_cuts(backdrop(frames_of(two_scenes(ToyFace((100, 90), 60), ToyFace((220, 90), 60), cut), 90), cut))
    list(OfflineFollower(detector, Landmarker(ToyModel(), QUERY)).follow(frames))
    assert detector.glances and not {72, 81} & set(detector.glances)
