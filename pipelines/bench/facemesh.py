"""Benchmark of mediapipe's face mesh as it is usually run over a video.

    python facemesh.py VIDEO FACES

OpenCV decodes and converts to RGB, `FaceMesh` tracks up to FACES faces in video mode with refined eyes and lips, and 68
vertices of each face are written to a CSV table. The script does not import vtrack, so that it runs in any environment with
mediapipe. It prints the same line of JSON as `measurement.print_measurement`.
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


def main(path: str, max_faces: int) -> None:
    """Measure from the first frame to the last row; building the graph is not included."""
    frames = faces = 0
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=False, max_num_faces=max_faces, refine_landmarks=True
    )
    video = cv2.VideoCapture(path)
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    with (
        mesh,
        tempfile.TemporaryDirectory() as folder,
        Path(folder, "table.csv").open("w", newline="") as file,
    ):
        table = csv.writer(file)
        while True:
            success, image = video.read()
            if not success:
                break
            height, width = image.shape[:2]
            landmarks = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks or []
            for number, face in enumerate(landmarks):
                points = np.array([(point.x * width, point.y * height) for point in face.landmark[:POINTS]])
                table.writerow([frames, number, *points.round(3).ravel().tolist()])
            frames += 1
            faces += len(landmarks)
    seconds, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
    with Path("/proc/self/status").open() as status:
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    versions = f"mediapipe {mediapipe.__version__}, OpenCV {cv2.__version__}"
    measurement = {
        "frames": frames,
        "faces": faces,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mb": peak,
        "versions": versions,
    }
    sys.stdout.write(json.dumps(measurement) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
