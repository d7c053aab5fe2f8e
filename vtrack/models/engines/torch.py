"""A landmark network run by torch, on any device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import reading
from vtrack.models.engines.base import Engine, check_crops, encoded, no_prediction
from vtrack.types import ImageArray, Prediction, Query

if TYPE_CHECKING:
    import torch

    from vtrack.models.engines.cuda_graphs import Answer

_QUERIES = 32
"""Queries whose vectors stay on a device."""
_USUAL = (1, 8, 16)
"""Faces looked at together, where one or two are followed through a video."""


class TorchEngine(Engine):
    """A network in torch, on any device."""

    engine = "torch"

    def __init__(self, card: Card, network: torch.nn.Module, device: str) -> None:
        import torch

        from vtrack.models.backbones.registry import channels_last
        from vtrack.models.engines.cuda_graphs import answering

        super().__init__(card)
        self.device = device
        self._torch: Any = torch
        self._queries: dict[Query, tuple[torch.Tensor, torch.Tensor]] = {}
        self.network = channels_last(network.to(device)).eval()
        self._answers = answering(device)

    def predict(self, crops: ImageArray | torch.Tensor, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S), from NumPy or already on the device."""
        torch = self._torch
        # Crops from another process may be read-only, of which torch warns.
        images = torch.as_tensor(crops if isinstance(crops, torch.Tensor) else np.require(crops, requirements="W"))
        check_crops(tuple(images.shape), str(images.dtype).removeprefix("torch."), self.input_size)
        if not len(images) or not len(query):
            return no_prediction(len(images), len(query))
        plan = reading(query, self._taught)
        flat, count = self._answers(images, plan.asked, self._answer(plan.asked)).numpy(), len(plan.asked)
        return plan.read(
            Prediction(flat[:, : 2 * count].reshape(-1, count, 2), flat[:, 2 * count : 3 * count], flat[:, -1])
        )

    def prepare(self, query: Query) -> None:
        """Before there is a hurry, make what helps with so many faces as are usually asked about at once."""
        if not len(query):
            return
        asked = reading(query, self._taught).asked
        for count in _USUAL:
            self._answers.prepare((count, 3, self.input_size, self.input_size), asked, self._answer(asked))

    def _answer(self, query: Query) -> Answer:
        parts, positions = self._on_device(query)
        return partial(self._rows, parts=parts, positions=positions)

    def _rows(self, images: torch.Tensor, parts: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(B, 3 L + 1) points, sigmas and presence side by side, so that one copy brings all three back."""
        library = self._torch
        half = self.device.startswith("cuda")
        # A graph is to hold every step from the weights on: nothing may stay behind in a cache.
        with library.autocast(self.device.split(":")[0], library.bfloat16, enabled=half, cache_enabled=False):
            output = self.network(images, parts, positions)
        points = output.points[-1].float().flatten(1)
        sigmas = output.log_sigma.float().exp() * self.card.sigma_scale
        rows: torch.Tensor = library.cat([points, sigmas, output.presence.float().sigmoid()[:, None]], 1)
        return rows

    def _on_device(self, query: Query) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network is asked, sent once for the latest queries."""
        known = self._queries.get(query)
        if known is None:
            parts, positions = (self._torch.from_numpy(array).to(self.device) for array in encoded(query))
            known = parts, positions
            if len(self._queries) >= _QUERIES:
                self._queries.clear()
            self._queries[query] = known
        return known
