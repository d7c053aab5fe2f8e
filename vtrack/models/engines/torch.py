"""A landmark network run by torch, on any device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import plan_query
from vtrack.models.engines.base import Engine, check_crops, encode_query, no_prediction
from vtrack.types import ImageArray, Prediction, Query

if TYPE_CHECKING:
    import torch

    from vtrack.models.engines.cuda_graphs import Forward

_CACHED_QUERIES = 32
"""Queries whose text vectors stay on the device."""
_USUAL_BATCHES = (1, 8, 16)
"""Batch sizes that are common where one or two faces are tracked through a video."""


class TorchEngine(Engine):
    """A landmark network run by torch, in bfloat16 and by CUDA graphs on a GPU."""

    engine = "torch"

    def __init__(self, card: Card, network: torch.nn.Module, device: str) -> None:
        # Torch is slow to import, and other engines do without.
        import torch

        from vtrack.models.backbones.registry import channels_last
        from vtrack.models.engines.cuda_graphs import make_runner

        super().__init__(card)
        self.device = device
        self._torch: Any = torch
        self._queries: dict[Query, tuple[torch.Tensor, torch.Tensor]] = {}
        self.network = channels_last(network.to(device)).eval()
        self._runner = make_runner(device)

    def predict(self, crops: ImageArray | torch.Tensor, query: Query) -> Prediction:
        """Predict the points of a query on `uint8` crops (B, 3, S, S), from NumPy or already on the device."""
        torch = self._torch
        # Torch warns of read-only arrays, which crops from another process may be.
        images = torch.as_tensor(crops if isinstance(crops, torch.Tensor) else np.require(crops, requirements="W"))
        check_crops(tuple(images.shape), str(images.dtype).removeprefix("torch."), self.input_size)
        if not len(images) or not len(query):
            return no_prediction(len(images), len(query))
        plan = plan_query(query, self._taught)
        query = plan.network_query
        rows, count = self._runner(images, query, self._forward(query)).numpy(), len(query)
        points, sigma, *hidden = np.split(rows[:, 1:], range(2 * count, rows.shape[1] - 1, count), 1)
        return plan.interpolate(Prediction(points.reshape(-1, count, 2), sigma, rows[:, 0], *hidden))

    def prepare(self, query: Query) -> None:
        """Record CUDA graphs for the usual batch sizes before the first crops come."""
        if not len(query):
            return
        network_query = plan_query(query, self._taught).network_query
        for count in _USUAL_BATCHES:
            shape = (count, 3, self.input_size, self.input_size)
            self._runner.prepare(shape, network_query, self._forward(network_query))

    def _forward(self, query: Query) -> Forward:
        parts, positions = self._on_device(query)
        return partial(self._rows, parts=parts, positions=positions)

    def _rows(self, images: torch.Tensor, parts: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(B, 1 + 3 L) presence, points and sigmas side by side, so that one copy to the CPU is enough; (B, 1 + 4 L) with the
        probabilities that points are hidden, if the network tells."""
        library = self._torch
        half = self.device.startswith("cuda")
        # A CUDA graph must contain every step from the weights on: autocast may not cache converted weights.
        with library.autocast(self.device.split(":")[0], library.bfloat16, enabled=half, cache_enabled=False):
            output = self.network(images, parts, positions)
        points = output.points[-1].float().flatten(1)
        sigmas = output.log_sigma.float().exp() * self.card.sigma_scale
        hidden = [] if output.hidden is None else [output.hidden.float().sigmoid()]
        rows: torch.Tensor = library.cat([output.presence.float().sigmoid()[:, None], points, sigmas, *hidden], 1)
        return rows

    def _on_device(self, query: Query) -> tuple[torch.Tensor, torch.Tensor]:
        """Text vectors and positions of a query on the device, cached for the latest queries."""
        known = self._queries.get(query)
        if known is None:
            parts, positions = (self._torch.from_numpy(array).to(self.device) for array in encode_query(query))
            known = parts, positions
            if len(self._queries) >= _CACHED_QUERIES:
                self._queries.clear()
            self._queries[query] = known
        return known
