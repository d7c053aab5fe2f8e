"""Small tables as OpenFace 2 and DeepLabCut write them, made by hand after their own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

POINTS = np.arange(68)[:, None] * np.array([2.0, 1.0]) + np.array([100.0, 80.0])
"""(68, 2) the points of the first face."""


def write_openface(path: Path) -> Path:
    """A file of FeatureExtraction: gaze, pose, shape and action units around the points; frame 2 without a face."""
    names = ["frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x", "eye_lmk_x_0", "pose_Rx"]
    names += [f"x_{i}" for i in range(68)] + [f"y_{i}" for i in range(68)]
    names += [f"{axis}_{i}" for axis in "XYZ" for i in range(68)] + ["p_scale", "AU01_r", "AU45_c"]
    lines = [", ".join(names)]
    for frame, time, confidence, success, points in (
        (1, 0.0, 0.98, 1, POINTS),
        (2, 0.033, 0.0, 0, POINTS * 0),
        (3, 0.067, 0.275, 0, POINTS + 0.5),
    ):
        cells = [f"{frame}", "0", f"{time:.3f}", f"{confidence:g}", f"{success}", "0.1", "321.5", "-0.02"]
        cells += [f"{value:.1f}" for value in points.T.ravel()] + ["12.5"] * (3 * 68) + ["2.3", "0.12", "1"]
        lines.append(", ".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_dlc(path: Path) -> Path:
    """A file of one animal: names of its own, a point that was not found in the second frame, and a frame without any."""
    scorer = "DLC_resnet50_faceJan1shuffle1_1030000"
    path.write_text(
        f"scorer,{','.join([scorer] * 6)}\n"
        "bodyparts,nosetip,nosetip,nosetip,left_eye_0,left_eye_0,left_eye_0\n"
        "coords,x,y,likelihood,x,y,likelihood\n"
        "0,321.5,240.25,0.999,300.0,200.125,0.5\n"
        "1,322.5,241.25,0.75,,,\n"
        "2,,,,,,\n"
    )
    return path


def write_dlc_of_several(path: Path) -> Path:
    """A file of two animals, of which the second comes in the second frame, and a point that neither has: `single`."""
    path.write_text(
        "scorer,s,s,s,s,s,s,s,s,s\n"
        "individuals,mouse1,mouse1,mouse1,mouse2,mouse2,mouse2,single,single,single\n"
        "bodyparts,nose,nose,nose,nose,nose,nose,corner,corner,corner\n"
        "coords,x,y,likelihood,x,y,likelihood,x,y,likelihood\n"
        "0,10.0,20.0,0.9,,,,1.0,2.0,1.0\n"
        "1,11.0,21.0,0.8,50.0,60.0,0.7,,,\n"
    )
    return path
