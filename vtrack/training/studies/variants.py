"""Networks of the ablations of the default model: their recipes, grouped by the table of the UDFLD paper that they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vtrack.data.sources import layout_of
from vtrack.training.landmarks.recipe import TrainingRecipe

LANGUAGE, LEARNABLE, TUNED, SLOW = (
    "all sets",
    "all sets, learnable parts",
    "all sets, tuned part vectors",
    "all sets, encoder at a tenth of the rate",
)
VOCABULARY = 128
"""More parts than all data sets have together."""

STUDIES = ("parts", "sets", "boxes", "positions", "encoders")
"""Table 5 and the rates of the encoders; tables 3 and 4; shifted boxes; points held out; table 6."""

Variants = dict[str, TrainingRecipe]


def set_name(spec: str) -> str:
    """The name in `NAME:PATH`."""
    return spec.partition(":")[0]


def variants(
    base: TrainingRecipe, encoders: Mapping[str, str] | None = None, only: Sequence[str] = STUDIES
) -> Variants:
    """Recipe of each variant, by name.

    Args:
        base: The recipe on all data sets; the first of them is studied in more variants.
        encoders: Other image encoders and the file of each one's weights, empty for random ones.
        only: Studies that are made, of `STUDIES`.
    """
    made = {
        "parts": _parts(base),
        "sets": _sets(base),
        "boxes": _boxes(base),
        "positions": _positions(base),
        "encoders": _encoders(base, encoders or {}),
    }
    chosen: Variants = {}
    for study in STUDIES:
        if study in only:
            chosen |= made[study]
    return chosen


def alone(base: TrainingRecipe, spec: str) -> TrainingRecipe:
    """The recipe of one set, on as many faces of it as the network of all sets gets."""
    return _of(base, (spec,), max(base.steps // len(base.data), 1))


def _parts(base: TrainingRecipe) -> Variants:
    first = base.data[0]
    learnable = replace(base.model, parts="learnable", vocabulary=VOCABULARY)
    return {
        LANGUAGE: base,
        LEARNABLE: replace(base, model=learnable),
        TUNED: replace(base, model=replace(learnable, parts="tuned", encoder_rate=0.1)),
        SLOW: replace(base, model=replace(base.model, encoder_rate=0.1)),
        f"{set_name(first)} alone": alone(base, first),
        f"{set_name(first)} alone, learnable parts": replace(alone(base, first), model=learnable),
    }


def _sets(base: TrainingRecipe) -> Variants:
    """Each set alone, the first two, all, all but each set, and all but each layout that several sets share."""
    made = {LANGUAGE: base, **{f"{set_name(spec)} alone": alone(base, spec) for spec in base.data}}
    if len(base.data) == 1:
        return made
    if len(base.data) > 2:
        pair = base.data[:2]
        made[" and ".join(map(set_name, pair))] = _of(base, pair, max(2 * base.steps // len(base.data), 1))
    for spec in base.data:
        rest = tuple(other for other in base.data if other != spec)
        made[f"all sets but {set_name(spec)}"] = _of(base, rest, base.steps)
    layouts = {spec: layout_of(set_name(spec)).name for spec in base.data}
    for layout in dict.fromkeys(layouts.values()):
        rest = tuple(spec for spec in base.data if layouts[spec] != layout)
        if 0 < len(rest) < len(base.data) - 1:
            made[f"all sets but those of layout {layout}"] = _of(base, rest, base.steps)
    return made


def _boxes(base: TrainingRecipe) -> Variants:
    unshifted, first = replace(base.augmentation, shift=0.0), base.data[0]
    return {
        LANGUAGE: base,
        "all sets, boxes never shifted": replace(base, augmentation=unshifted),
        f"{set_name(first)} alone": alone(base, first),
        f"{set_name(first)} alone, boxes never shifted": replace(alone(base, first), augmentation=unshifted),
    }


def _positions(base: TrainingRecipe) -> Variants:
    first = base.data[0]
    name = set_name(first)
    return {
        LANGUAGE: base,
        f"{name} alone": alone(base, first),
        f"{name} alone, every second point held out": replace(alone(base, first), hold_out=(name,)),
    }


def _encoders(base: TrainingRecipe, encoders: Mapping[str, str]) -> Variants:
    """Each encoder on all sets (table 6a) and on the first alone (table 6b)."""
    first = base.data[0]
    made = {LANGUAGE: base, f"{set_name(first)} alone": alone(base, first)} if encoders else {}
    for encoder, weights in encoders.items():
        changed = replace(base, model=replace(base.model, backbone=encoder), init=weights)
        made[with_encoder(LANGUAGE, encoder)] = changed
        made[with_encoder(f"{set_name(first)} alone", encoder)] = alone(changed, first)
    return made


def with_encoder(name: str, encoder: str) -> str:
    """The name of a variant with another image encoder."""
    return f"{name}, {encoder}"


def _of(base: TrainingRecipe, data: tuple[str, ...], steps: int) -> TrainingRecipe:
    """The recipe with fewer data sets, and without options that name the others."""
    names = set(map(set_name, data))
    pixels = {name: pixel for name, pixel in base.first_pixel.items() if name in names}
    return replace(base, data=data, steps=steps, first_pixel=pixels)
