"""Checksums of weights on their card: files that were altered, damaged or mixed up are refused before they are read.

A checksum is the SHA-256 of a file's bytes (`sha256sum fast.safetensors`): the graphs read tensors from the weights' file
by their place in it, so every byte counts. It takes 10 ms for `fast` and 20 to 45 ms for `accurate`.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from vtrack.errors import ModelError
from vtrack.models.card import Card, read_card

log = logging.getLogger(__name__)

ENDINGS = (".int8.onnx", ".onnx", ".safetensors")
"""Endings of a model's files; each begins with the name of the card."""
_warned: set[Path] = set()


def checksums_of(card: Path) -> dict[str, str]:
    """The SHA-256 of each file of a model, by ending.

    Args:
        card: Path of the model's card, which need not exist yet.
    """
    files = {ending: card.with_suffix(ending) for ending in sorted(ENDINGS)}
    return {ending: _checksum(path) for ending, path in files.items() if path.is_file()}


def add_checksums(path: Path) -> Card:
    """Write the checksums of a model's files into its card, in place of those that are there.

    Raises:
        ModelError: The card or a file cannot be read, or there are no files beside it.
    """
    card = replace(read_card(path), checksums=checksums_of(path))
    if not card.checksums:
        raise ModelError(f"{path}: there are no weights beside the card")
    card.write(path)
    return card


def check_file(card: Card, path: Path) -> None:
    """Compare a file of a model with the checksum on its card. A card without checksums and an absent file pass.

    Raises:
        ModelError: The file is another than the card names, or the card does not name it.
    """
    if not card.checksums or not path.is_file():
        return
    ending = next(ending for ending in ENDINGS if path.name.endswith(ending))
    expected = card.checksums.get(ending)
    if expected is None:
        raise ModelError(f"{path}: the card of {card.name} has no checksum of this file; {_advice(path)}")
    if _checksum(path) != expected:
        raise ModelError(
            f"{path}: this is not the file that the card of {card.name} describes: its checksum is another; "
            f"copy the model's files anew, or, if you changed it yourself: {_advice(path)}"
        )


def check_weights(path: Path) -> None:
    """Compare weights with the card beside them. Weights without a card, as those of other projects, pass.

    Raises:
        ModelError: The file is another than the card names, or the card does not name it.
    """
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.is_file():
        return
    try:
        card = read_card(beside)
    except ModelError:  # a file of another program
        return
    check_file(card, path)


def check_files(card: Card, path: Path) -> list[str]:
    """What is wrong with the files beside a card: absent, unnamed, or not those that it describes; empty if nothing is.

    Args:
        card: The card.
        path: Where it lies.
    """
    if not card.checksums:
        return [f"{path}: the card has no checksums; {_advice(path)}"]
    faults = []
    for ending in sorted({*ENDINGS, *card.checksums}):
        file = path.with_suffix(ending)
        if ending in card.checksums and not file.is_file():
            faults.append(f"{file}: no such file, but the card of {card.name} names it")
        elif ending in ENDINGS:
            try:
                check_file(card, file)
            except ModelError as error:
                faults.append(str(error))
    return faults


def warn_without_checksums(card: Card, path: Path) -> None:
    """Warn once of a card that does not say which weights it describes, as those of earlier versions."""
    if not card.checksums and path not in _warned:
        _warned.add(path)
        log.warning("%s has no checksums, so its weights are not checked; %s", path, _advice(path))


def _advice(path: Path) -> str:
    """The command that writes checksums into the card of a file."""
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), path.suffix)
    return f"vtrack models {path.with_name(path.name.removesuffix(ending) + '.json')} --add-checksums"


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: the weights cannot be read: {error.strerror}") from error
