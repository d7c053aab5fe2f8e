"""Images as arrays: planes as video stores them, boxes, face crops, PNG files.

Knows nothing of landmark models, detectors or video files; everything that touches pixels builds on it.
"""
