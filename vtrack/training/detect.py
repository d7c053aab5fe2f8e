"""Trains the face detector's network on composed scenes: `train_detector`.

A cell is positive when it lies near the visible middle of a face of its stride's size. Its score learns how well its own
box fits (quality focal loss), so that the best placed of several boxes on one face is the one that is kept.
"""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vtrack.models.faceboxes import STRIDES, UNIT, cells_of, suppress
from vtrack.models.facenet import FaceNet
from vtrack.training.detect_scenes import MOST_FACES, Album, Composer, Scene

log = logging.getLogger(__name__)


class Scenes(IterableDataset[dict[str, Tensor]]):
    """Endless scenes, padded to `MOST_FACES`; every worker has its own stream of random numbers."""

    def __init__(self, album: Album, size: int, seed: int) -> None:
        self.composer, self.seed = Composer(album, size), seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield tensors(self.composer.scene(rng))


def tensors(scene: Scene) -> dict[str, Tensor]:
    """A scene as the loss takes it: `faces` (MOST_FACES, 8) box, visible centre, roll, and 1 face, -1 doubtful, 0 nothing."""
    faces = np.zeros((MOST_FACES, 8), np.float32)
    count = len(scene.boxes)
    faces[:count] = np.concatenate([scene.boxes, scene.centers, scene.angles[:, None], np.where(scene.doubtful, -1, 1)[:, None]], 1)
    return {"image": torch.from_numpy(np.ascontiguousarray(scene.image)), "faces": torch.from_numpy(faces)}


def decode(cells: Tensor, middles: Tensor, strides: Tensor) -> Tensor:
    """(..., cells, 4) x0, y0, x1, y1 from the network's (..., cells, 7)."""
    centers = middles + cells[..., 1:3] * strides[:, None]
    half = UNIT / 2 * strides[:, None] * cells[..., 3:5].clamp(-4, 4).exp()
    return torch.cat([centers - half, centers + half], -1)


def _giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap and generalised overlap of matching x0, y0, x1, y1 boxes."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    overlap = shared / union.clamp(min=1e-6)
    return overlap, overlap - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(faces: Tensor, middles: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Which face (B, cells) each cell answers for (-1 none), and where the loss looks away (B, cells)."""
    boxes, centers, state = faces[..., :4], faces[..., 4:6], faces[..., 7]
    size = boxes[..., 2:].clamp(min=1).prod(-1).sqrt()
    level = (size / (UNIT * STRIDES[0])).log2().clamp(0, len(STRIDES) - 1)
    fits = (level[:, None] - (strides / STRIDES[0]).log2()[:, None]).abs() <= 0.75
    distance = (middles[:, None] - centers[:, None]).norm(dim=-1)
    radius = torch.maximum(0.2 * size[:, None], 0.75 * strides[:, None])
    reach = torch.where(fits & (distance <= radius) & (state[:, None] == 1), distance / radius, torch.inf)
    nearest, face = reach.min(-1)
    face = torch.where(nearest.isfinite(), face, -1)
    inside = (middles[:, None] >= boxes[:, None, :, :2]) & (middles[:, None] <= boxes[:, None, :, :2] + boxes[:, None, :, 2:])
    away = (inside.all(-1) & (state[:, None] == -1)).any(-1) & (face < 0)
    return face, away


def losses(cells: Tensor, faces: Tensor, middles: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """Score, box and roll losses of a batch (B, 7, cells) against padded faces (B, MOST_FACES, 8)."""
    cells = cells.float().transpose(1, 2)
    face, away = assign(faces, middles, strides)
    positive = face >= 0
    picture, cell = positive.nonzero(as_tuple=True)
    wanted = faces[picture, face[picture, cell]]
    found = decode(cells, middles, strides)[picture, cell]
    overlap, fit = _giou(found, torch.cat([wanted[:, :2], wanted[:, :2] + wanted[:, 2:4]], -1))
    quality = torch.zeros_like(cells[..., 0])
    quality[picture, cell] = overlap.detach().clamp(0, 1)
    logits = cells[..., 0]
    focal = (logits.sigmoid() - quality).square() * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    # A mosaic has a hundred times the positive cells of a portrait: by the root both have a say.
    counts = positive.sum(1).clamp(min=5).float()
    share = counts.rsqrt() / counts.sqrt().sum()
    weight = share[picture]
    roll, length = cells[picture, cell, 5:7], cells[picture, cell, 5:7].norm(dim=-1).clamp(min=1e-3)
    aim = torch.stack([wanted[:, 6].cos(), wanted[:, 6].sin()], -1)
    turn = 1 - (roll * aim).sum(-1) / length + 0.05 * (length - 1).square()
    return {
        "score": (focal.masked_fill(away, 0).sum(1) * share).sum(),
        "box": ((1 - fit) * weight).sum(),
        "roll": (turn * weight).sum(),
    }


class Average:
    """Running mean of a network's weights: what is evaluated and shipped."""

    def __init__(self, net: FaceNet, decay: float = 0.998) -> None:
        self.net, self.decay, self.steps = copy.deepcopy(net).eval(), decay, 0

    @torch.no_grad()
    def update(self, net: FaceNet) -> None:
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mine, theirs in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)


@torch.no_grad()
def average_precision(net: FaceNet, scenes: list[dict[str, Tensor]], floor: float = 0.05) -> float:
    """Area under precision over recall at an overlap of one half, on composed scenes."""
    hits, scores, total = [], [], 0
    for start in range(0, len(scenes), 16):
        images = torch.stack([scene["image"] for scene in scenes[start : start + 16]])
        cells = net(images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)).transpose(1, 2)
        middles, strides = map(torch.from_numpy, cells_of(*images.shape[1:3]))
        boxes = decode(cells, middles, strides)
        for box, score, scene in zip(boxes, cells[..., 0].sigmoid(), scenes[start : start + 16], strict=True):
            faces = scene["faces"]
            sure, best = score.topk(300)
            sure, found = sure[sure > floor], box[best[sure > floor]]
            kept = suppress(found.numpy(), sure.numpy())
            found, sure = found[kept], sure[kept]
            truth = torch.cat([faces[:, :2], faces[:, :2] + faces[:, 2:4]], -1)[faces[:, 7] != 0]
            real = (faces[:, 7] == 1)[faces[:, 7] != 0]
            total += int(real.sum())
            free = torch.ones(len(truth), dtype=torch.bool)
            for b, s in zip(found, sure, strict=True):
                overlap = _giou(b.expand(len(truth), 4), truth)[0] * free if len(truth) else torch.zeros(1)
                best = int(overlap.argmax())
                hit = bool(overlap[best] > 0.5)
                if hit and not real[best]:
                    continue
                if hit:
                    free[best] = False
                elif len(truth) and (_giou(b.expand(len(truth), 4), truth)[0][~real] > 0.2).any():
                    continue
                hits.append(hit)
                scores.append(float(s))
    order = np.argsort(-np.array(scores))
    hit = np.array(hits, bool)[order]
    recall = hit.cumsum() / max(total, 1)
    precision = hit.cumsum() / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def train_detector(
    data: Path,
    out: Path,
    *,
    cache: Path = Path("runs/detect"),
    steps: int = 6000,
    batch: int = 16,
    size: int = 320,
    rate: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 1,
    check_every: int = 500,
    start: Path | None = None,
) -> Path:
    """Train from the labels in `cache` and return the folder of the finished weights.

    Resumes from `out/last.pt` when that exists. `start` gives weights to begin from.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    place = torch.device(device)
    net = FaceNet().to(place, memory_format=torch.channels_last)
    if start is not None:
        from safetensors.torch import load_file

        net.load_state_dict(load_file(start))
    optimizer = torch.optim.AdamW(_groups(net), lr=rate, betas=(0.9, 0.99))
    average = Average(net)
    done, last = 0, out / "last.pt"
    if last.is_file():
        state = torch.load(last, weights_only=True, map_location=place)
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done = average.steps = int(state["step"])
        log.info("resumed at step %d", done)
    scenes = Scenes(Album(data, cache, "train"), size, seed + done)
    loader = iter(DataLoader(scenes, batch, num_workers=workers, prefetch_factor=4 if workers else None))
    check = _check_scenes(Album(data, cache, "val"), size)
    middles, strides = (torch.from_numpy(array).to(place) for array in cells_of(size, size))

    with (out / "log.csv").open("a", newline="") as table:
        writer = csv.writer(table)
        if done == 0:
            writer.writerow(["step", "seconds", "rate", "score", "box", "roll", "val_ap"])
        began, sums = time.monotonic(), {"score": 0.0, "box": 0.0, "roll": 0.0}
        for step in range(done + 1, steps + 1):
            now = _rate(step, steps, rate)
            for group in optimizer.param_groups:
                group["lr"] = now
            examples = next(loader)
            images = examples["image"].to(place).permute(0, 3, 1, 2).float()
            with torch.autocast(place.type, torch.bfloat16):
                cells = net(images)
            parts = losses(cells, examples["faces"].to(place), middles, strides)
            optimizer.zero_grad(set_to_none=True)
            (parts["score"] + 1.5 * parts["box"] + 3.0 * parts["roll"]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            average.update(net)
            for name, value in parts.items():
                sums[name] += float(value.detach())
            if step % 50 == 0 or step == steps:
                checked = step % check_every == 0 or step == steps
                ap = average_precision(copy.deepcopy(average.net).cpu(), check) if checked else math.nan
                row = [step, round(time.monotonic() - began), f"{now:.2e}", *(f"{v / 50:.4f}" for v in sums.values())]
                writer.writerow([*row, "" if math.isnan(ap) else f"{ap:.4f}"])
                table.flush()
                log.info("step %d: %s", step, ", ".join(map(str, row[1:])) + (f", val AP {ap:.4f}" if checked else ""))
                sums = dict.fromkeys(sums, 0.0)
                if checked:
                    _save(out, net, average, optimizer, step, size)
    return out


def _groups(net: FaceNet) -> list[dict[str, object]]:
    """Weight decay on convolutions, none on biases and normalisation."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    return [{"params": matrices, "weight_decay": 0.02}, {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0}]


def _rate(step: int, steps: int, peak: float) -> float:
    """Short warm-up, then half a cosine down to a hundredth."""
    warm = min(200, steps // 10 + 1)
    if step < warm:
        return peak * step / warm
    along = (step - warm) / max(steps - warm, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def _check_scenes(album: Album, size: int, count: int = 160) -> list[dict[str, Tensor]]:
    """The same scenes of the val split at every check."""
    composer, rng = Composer(album, size), np.random.default_rng(1)
    return [tensors(composer.scene(rng)) for _ in range(count)]


def _save(out: Path, net: FaceNet, average: Average, optimizer: torch.optim.Optimizer, step: int, size: int) -> None:
    """What resuming needs, and the averaged weights; each replaces the old only when whole."""
    state = {"net": net.state_dict(), "average": average.net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, out / "last.part")
    (out / "last.part").replace(out / "last.pt")
    save_file({name: value.contiguous() for name, value in average.net.state_dict().items()}, out / "weights.safetensors")
    (out / "options.json").write_text(json.dumps({"net": net.options, "step": step, "size": size}))
