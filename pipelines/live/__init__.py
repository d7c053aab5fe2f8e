"""Live tracking: cameras, the latest frame, a window, a browser page and recordings.

`LiveSession` tracks faces in the frames of a `Capture`; `Window` and `browser.server.BrowserServer` show its results.

Example:
    with Capture(camera_opener("0")) as capture:
        for result in LiveSession(pipeline, capture).results():
            print(result.shown.time, len(result.shown.faces))
"""

# OpenCV before PyAV. Both wheels ship a libxcb-shm of one name: PyAV's needs a libxcb of its own, OpenCV's that of the system.
# The one that is loaded first serves both, and with PyAV's `cv2.imshow` hangs.
import cv2  # noqa: F401
