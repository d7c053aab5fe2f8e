"""Print the height over the width of each eye in each frame: `python samples/track.py samples/sample.mp4`."""

import sys

import numpy as np

import vtrack

for result in vtrack.track(sys.argv[1], parts="left_eye:6,right_eye:6"):
    for face in result.faces:
        openings = []
        for eye in ("left_eye", "right_eye"):
            width, height = np.ptp(face[eye], axis=0)
            openings.append(f"{eye} {height / width:.2f}")
        print(f"{result.time:7.3f} s  face {face.id}  {'  '.join(openings)}")
