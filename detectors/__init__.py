"""Face detectors, one file each, behind one protocol: `load_detector("auto").detect(frames)`."""

from vtrack.detectors.registry import DETECTORS as DETECTORS
from vtrack.detectors.registry import load_detector as load_detector
