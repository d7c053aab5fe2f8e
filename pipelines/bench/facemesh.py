"""mediapipe's face mesh over a video as people run it, for the benchmark: prints what it took as a line of JSON.

    python facemesh.py VIDEO FACES

OpenCV decodes and converts to RGB, `FaceMesh` follows up to FACES faces in its video mode with refined eyes and lips, and
68 of each face's vertices go to a CSV table. It knows nothing of vtrack, so that any environment with mediapipe runs it.
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import mediapipe
import numpy as np

POINTS = 68


def main(path: str, most: int) -> None:
    """Measure from the first frame to the last row, the graph built."""
    frames = faces = 0
    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=most, refine_landmarks=True)
    video = cv2.VideoCapture(path)
    began, worked = time.perf_counter(), time.process_time()
    with (
        mesh,
        tempfile.TemporaryDirectory() as folder,
        Path(folder, "table.csv").open("w", newline="") as file,
    ):
        table = csv.writer(file)
        while True:
            there, image = video.read()
            if not there:
                break
            height, width = image.shape[:2]
            found = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks or []
            for number, face in enumerate(found):
                points = np.array([(point.x * width, point.y * height) for point in face.landmark[:POINTS]])
                table.writerow([frames, number, *points.round(3).ravel().tolist()])
            frames += 1
            faces += len(found)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    with Path("/proc/self/status").open() as status:
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    versions = f"mediapipe {mediapipe.__version__}, OpenCV {cv2.__version__}"
    told = {"frames": frames, "faces": faces, "seconds": seconds, "cpu": cpu, "peak_mb": peak, "versions": versions}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
