"""Print how far the eyes of each face are open, and its blinks: `python samples/track.py samples/sample.mp4`."""

import sys

import vtrack

for result in vtrack.track(sys.argv[1], parts="eyes", measures=True):
    for face in result.faces:
        left, right, blinks = (face.measures[name] for name in ("left_eye_open", "right_eye_open", "blinks"))
        print(f"{result.time:7.3f} s  face {face.id}  left eye {left:.2f}  right eye {right:.2f}  {blinks:.0f} blinks")
