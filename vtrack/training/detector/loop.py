"""Trains the face detector's network on composed scenes: `train_detector`.

A cell is positive if it lies near the visible centre of a face of its stride's size. The target of its score is the IoU of its
box (quality focal loss), so that suppression keeps the best of several boxes on one face.
"""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vtrack.data.scenes.album import Album
from vtrack.data.scenes.composer import MOST_FACES, Composer, Scene
from vtrack.data.scenes.validation import EvalScene
from vtrack.detectors.geometry import STRIDES, UNIT, cell_grid, decode_boxes, suppress, vote
from vtrack.detectors.network import FaceNet
from vtrack.evaluation.detector import report
from vtrack.imaging.boxes import corners_to_xywh, xywh_to_corners
from vtrack.training.common.checkpoint import (
    load_run,
    optimiser_tensors,
    prefixed,
    restore_optimiser,
    save_run,
    without_prefix,
)
from vtrack.training.common.precision import autocast
from vtrack.training.common.running_mean import update_mean
from vtrack.training.detector.recipe import DetectorRecipe
from vtrack.types import Detections, Frame

log = logging.getLogger(__name__)

CHECKPOINT, WEIGHTS, OPTIONS = "last.safetensors", "weights.safetensors", "options.json"
DECAY = 0.998
"""Decay of the running mean of the weights, which is evaluated and published."""
BOX, ROLL = 1.5, 3.0
"""Weights of the box and roll losses relative to that of the score; with a small weight the roll is not learned."""


class Scenes(IterableDataset[dict[str, Tensor]]):
    """An endless stream of scenes, padded to `MOST_FACES`; each worker has its own random numbers."""

    def __init__(self, album: Album, size: int, seed: int) -> None:
        self.composer, self.seed = Composer(album, size), seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield tensors(self.composer.scene(rng))


def tensors(scene: Scene) -> dict[str, Tensor]:
    """A scene as tensors: `faces` (MOST_FACES, 8) are box, visible centre, roll, and 1 face, -1 doubtful, 0 padding."""
    faces = np.zeros((MOST_FACES, 8), np.float32)
    state = np.where(scene.doubtful, -1, 1)
    faces[: len(state)] = np.column_stack([scene.boxes, scene.centers, scene.angles, state])
    return {"image": torch.from_numpy(np.ascontiguousarray(scene.image)), "faces": torch.from_numpy(faces)}


def _decoded(cells: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """(..., cells, 4) x0, y0, x1, y1 from the network's (..., cells, 7): `decode_boxes` with gradients."""
    middles = centers + cells[..., 1:3] * strides[:, None]
    half = UNIT / 2 * strides[:, None] * cells[..., 3:5].clamp(-4, 4).exp()
    return torch.cat([middles - half, middles + half], -1)


def _iou_and_giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) IoU and generalised IoU of pairs of x0, y0, x1, y1 boxes (n, 4), with gradients."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(faces: Tensor, centers: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Assign faces to cells.

    Args:
        faces: (B, MOST_FACES, 8) padded faces.
        centers: (cells, 2) centres of the cells in pixels.
        strides: (cells,) strides of the cells.

    Returns:
        (B, cells) index of the face of each cell, -1 for none, and (B, cells) bool: cells that the loss ignores. In a doubtful
        face these are only the cells for faces of about its size: the eye of a large face is not a small face.
    """
    boxes, faces_at, state = faces[..., :4], faces[..., 4:6], faces[..., 7]
    size = boxes[..., 2:].clamp(min=1).prod(-1).sqrt()
    level = (size / (UNIT * STRIDES[0])).log2().clamp(0, len(STRIDES) - 1)
    apart = (level[:, None] - (strides / STRIDES[0]).log2()[:, None]).abs()
    fits = apart <= 0.75
    distance = (centers[:, None] - faces_at[:, None]).norm(dim=-1)
    radius = torch.maximum(0.2 * size[:, None], 0.75 * strides[:, None])
    reach = torch.where(fits & (distance <= radius) & (state[:, None] == 1), distance / radius, torch.inf)
    nearest, face = reach.min(-1)
    face = torch.where(nearest.isfinite(), face, -1)
    inside = (centers[:, None] >= boxes[:, None, :, :2]) & (
        centers[:, None] <= boxes[:, None, :, :2] + boxes[:, None, :, 2:]
    )
    alike = apart <= 1.5
    ignored = (inside.all(-1) & alike & (state[:, None] == -1)).any(-1) & (face < 0)
    return face, ignored


def losses(cells: Tensor, faces: Tensor, centers: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """Score, box and roll losses of a batch (B, 7, cells) against padded faces (B, MOST_FACES, 8)."""
    cells = cells.float().transpose(1, 2)
    face, ignored = assign(faces, centers, strides)
    positive = face >= 0
    picture, cell = positive.nonzero(as_tuple=True)
    wanted = faces[picture, face[picture, cell]]
    boxes = _decoded(cells, centers, strides)[picture, cell]
    iou, giou = _iou_and_giou(boxes, torch.cat([wanted[:, :2], wanted[:, :2] + wanted[:, 2:4]], -1))
    quality = torch.zeros_like(cells[..., 0])
    quality[picture, cell] = iou.detach().clamp(0, 1)
    logits = cells[..., 0]
    focal = (logits.sigmoid() - quality).square() * F.binary_cross_entropy_with_logits(
        logits, quality, reduction="none"
    )
    # A mosaic has a hundred times as many positive cells as a portrait. Square roots balance their weights.
    counts = positive.sum(1).clamp(min=5).float()
    share = counts.rsqrt() / counts.sqrt().sum()
    roll, length = cells[picture, cell, 5:7], cells[picture, cell, 5:7].norm(dim=-1).clamp(min=1e-3)
    aim = torch.stack([wanted[:, 6].cos(), wanted[:, 6].sin()], -1)
    turn = 1 - (roll * aim).sum(-1) / length + 0.05 * (length - 1).square()
    return {
        "score": (focal.masked_fill(ignored, 0).sum(1) * share).sum(),
        "box": ((1 - giou) * share[picture]).sum(),
        "roll": (turn * share[picture]).sum(),
    }


@torch.inference_mode()
def detect(net: FaceNet, scene: EvalScene, floor: float = 0.05, most: int = 400) -> Detections:
    """The network's detections in a scene whose sides are multiples of 32; scores are not calibrated."""
    image = torch.from_numpy(scene.frame.image).to(next(net.parameters()).device)
    cells = net(image.permute(2, 0, 1)[None].float())[0].cpu().numpy()
    scores = 1 / (1 + np.exp(-cells[0]))
    best = np.argsort(-scores)[:most]
    best = best[scores[best] > floor]
    centers, strides = cell_grid(*image.shape[:2])
    boxes = decode_boxes(cells[:, best], centers[best], strides[best])
    kept, kept_scores = suppress(boxes, scores[best])
    corners, rolls = vote(boxes, scores[best], cells[5:7, best].T, kept)
    return Detections(corners_to_xywh(corners), kept_scores, np.arctan2(rolls[:, 1], rolls[:, 0]))


def average_precision(net: FaceNet, scenes: Sequence[EvalScene]) -> float:
    """Average precision on scenes like those of training."""
    return report("native", scenes, [detect(net, scene) for scene in scenes], 0.5, 0.0).average_precision


def train_detector(
    data: Path,
    out: Path,
    *,
    cache: Path = DetectorRecipe.cache,
    steps: int = DetectorRecipe.steps,
    batch: int = DetectorRecipe.batch,
    size: int = DetectorRecipe.size,
    rate: float = DetectorRecipe.rate,
    seed: int = DetectorRecipe.seed,
    device: str = DetectorRecipe.device,
    threads: int = DetectorRecipe.threads,
    workers: int = DetectorRecipe.workers,
    every: int = DetectorRecipe.every,
    start: Path | None = None,
    report_line: Callable[[str], None] = log.info,
) -> Path:
    """Train the face detector, resuming from the checkpoint in `out` if there is one.

    Args:
        data: Folder of the photograph zips.
        out: Folder of the run.
        cache: Folder of the labels (`vtrack.data.scenes.labels`) and of the decoded photographs.
        steps: Number of steps.
        batch: Scenes per step.
        size: Side of a scene in pixels.
        rate: Peak learning rate.
        seed: Seed of weights and scenes.
        device: `cpu`, `cuda`, `cuda:1`.
        threads: Threads of torch.
        workers: Processes that compose scenes.
        every: Steps between validations and checkpoints.
        start: Another run, from whose weights to start.
        report_line: Called with a line of progress.

    Returns:
        Folder of the run.

    Raises:
        DataError: The photographs or their labels are missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)  # a worker forked beside OpenCV's threads waits for them for ever
    place = torch.device(device)
    net = FaceNet().to(place)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch does not declare it
    if start is not None:
        net.load_state_dict(load_file(start / WEIGHTS))
    optimiser = torch.optim.AdamW(_groups(net), lr=rate, betas=(0.9, 0.99))
    mean, done = copy.deepcopy(net).eval(), 0
    if (out / CHECKPOINT).is_file():
        stored, state = load_run(out / CHECKPOINT)
        net.load_state_dict(without_prefix("net", stored))
        mean.load_state_dict(without_prefix("average", stored))
        restore_optimiser(net, optimiser, stored)
        done = int(state["step"])
        report_line(f"resumed at step {done}")
    loader = iter(DataLoader(Scenes(Album(data, cache, "train"), size, seed + done), batch, num_workers=workers))
    check = check_scenes(Album(data, cache, "val"), size)
    centers, strides = (torch.from_numpy(array).to(place) for array in cell_grid(size, size))

    with (out / "log.csv").open("a", newline="") as table:
        writer = csv.writer(table)
        if done == 0:
            writer.writerow(["step", "seconds", "rate", "score", "box", "roll", "val_ap"])
        began, sums = time.monotonic(), np.zeros(3)
        for step in range(done + 1, steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = _rate(step, steps, rate)
            examples = next(loader)
            with autocast(place):
                cells = net(examples["image"].to(place).permute(0, 3, 1, 2).float())
            parts = losses(cells, examples["faces"].to(place), centers, strides)
            optimiser.zero_grad(set_to_none=True)
            (parts["score"] + BOX * parts["box"] + ROLL * parts["roll"]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            update_mean(mean, net, step, DECAY)
            sums += [float(value.detach()) for value in parts.values()]
            last = step == steps
            if step % 50 == 0 or last:
                count = step % 50 or 50
                precision = average_precision(mean, check) if step % every == 0 or last else math.nan
                seconds = round(time.monotonic() - began)
                row = [step, seconds, f"{_rate(step, steps, rate):.2e}", *(f"{value / count:.4f}" for value in sums)]
                writer.writerow([*row, "" if math.isnan(precision) else f"{precision:.4f}"])
                table.flush()
                report_line(
                    f"step {step}, {seconds} s, score {row[3]}, box {row[4]}, roll {row[5]}, validation AP {precision:.4f}"
                )
                sums[:] = 0
                if not math.isnan(precision):
                    _save(out, net, mean, optimiser, step, {"size": size, "data": str(data.resolve())})
    return out


def check_scenes(album: Album, size: int, count: int = 160) -> list[EvalScene]:
    """Compose validation scenes; they are the same at every call."""
    composer, rng = Composer(album, size), np.random.default_rng(1)
    scenes = []
    for number in range(count):
        scene = composer.scene(rng)
        frame = Frame(np.ascontiguousarray(scene.image), number, number, Fraction(1, 25))
        boxes, yaws = xywh_to_corners(scene.boxes), np.full(len(scene.boxes), np.nan)
        scenes.append(EvalScene(frame, "size", boxes, np.degrees(scene.angles), scene.doubtful, yaws))
    return scenes


def _groups(net: FaceNet) -> list[dict[str, object]]:
    """Weight decay on convolutions, none on biases and normalisation."""
    matrices, others = ([p for p in net.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    return [{"params": matrices, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: a short linear warm-up, then a cosine down to a hundredth of the peak."""
    warm = min(200, steps // 10 + 1)
    if step < warm:
        return peak * step / warm
    along = (step - warm) / max(steps - warm, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def _save(
    out: Path, net: FaceNet, mean: FaceNet, optimiser: torch.optim.Optimizer, step: int, about: dict[str, object]
) -> None:
    """Write the checkpoint, and the averaged weights with their options for publishing."""
    state = prefixed("net", net.state_dict()) | prefixed("average", mean.state_dict())
    state |= optimiser_tensors(net, optimiser)
    save_run(out / CHECKPOINT, state, {"step": step})
    save_file({name: value.cpu().contiguous() for name, value in mean.state_dict().items()}, out / WEIGHTS)
    (out / OPTIONS).write_text(json.dumps({"net": net.options, "step": step, **about}))
