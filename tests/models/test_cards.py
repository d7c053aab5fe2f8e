"""Model cards of strangers: damaged, hostile or of other weights; each is refused in one line, and quickly."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from vtrack.cli.main import main
from vtrack.detectors.native import NATIVE_CARD, NativeDetector
from vtrack.detectors.network import load_facenet
from vtrack.errors import ModelError
from vtrack.models import card_path, load_model, shipped
from vtrack.models.backbones.pretrained import init_backbone
from vtrack.models.card import WEIGHTS, read_card, read_landmark_card
from vtrack.models.checksums import add_checksums, check_files
from vtrack.models.engines import trial
from vtrack.models.networks import build_network, load_network
from vtrack.models.systems.registry import RANGES, SYSTEMS
from vtrack.training.common.checkpoint import load_weights

ENGINES = {"torch": ".safetensors", "onnx": ".safetensors", "int8": ".int8.onnx"}
"""Engines that need no extra, and a file that each reads."""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A copy of the fast model in a folder of its own: the path of its card."""
    for file in WEIGHTS.glob("fast.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "fast.json"


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A copy of the detector in a folder of its own: the path of its card."""
    for file in NATIVE_CARD.parent.glob("native.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "native.json"


def change(path: Path, *keys: str, value: Any) -> None:
    """Set an entry of a card; `...` removes it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    inside = content
    for key in keys[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[keys[-1]]
    else:
        inside[keys[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a model card"),
        (b"\xff\xfe{}", "not a model card: 'utf-8' codec"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "it is no JSON object"),
        (b"7", "it is no JSON object"),
        (b'{"name": ' + b"9" * 5000 + b"}", "not a model card"),
        (b'{"name": "x"}', "not a model card: .*missing"),
        (b" " * (17 << 20), "larger than 16 MB"),
    ],
)
def test_a_text_that_is_no_card(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(ModelError, match=message) as raised:
        read_card(tmp_path / "x.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("engine", ["torch", "onnx", "int8"])
@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("config",), True, "config must be an object, not True"),
        (("config",), ..., "not a model card"),
        (("name",), None, "name must be a text, not nothing"),
        (("summary",), ["x"], "summary must be a text"),
        (("sigma_scale",), "1.2", "sigma_scale must lie between"),
        (("sigma_scale",), float("nan"), "sigma_scale must lie between"),
        (("sigma_scale",), 10**400, "sigma_scale must lie between"),
        (("config", "input_size"), True, "input_size must be a whole number"),
        (("config", "input_size"), 10**9, "input_size must be a whole number from 32 to 1024, not 1000000000"),
        (("config", "input_size"), ..., "input_size must be a whole number .* not nothing"),
        (("config", "input_size"), 96, "fast"),
        (("config", "margin"), "x" * 5000, "margin must lie between"),
        (("config", "margin"), ..., "margin must lie between"),
        (("config", "layout"), 0.5, "layout must be a text, not 0.5"),
        (("taught",), {"left_eye": {"knots": [], "others": []}}, "left_eye has no knots"),
        (("taught",), {"left_eye": {"knots": [0.0, 1.0], "others": []}}, "left_eye needs"),
        (("taught",), {"jaw": {"knots": [0.0, float("nan")], "others": []}}, "jaw needs"),
        (("faces",), {"sigma": 0.03}, "faces must have a sigma"),
        (("faces",), {"sigma": "x", "presence": 1}, "faces must have a sigma"),
        (("taught",), {"jaw": 3}, "jaw needs"),
        (("checksums",), {".onnx": 7}, "checksums must be texts"),
        (("checksums",), [1], "checksums must be an object"),
    ],
)
def test_values_that_cannot_be(card: Path, keys: tuple[str, ...], value: Any, message: str, engine: str) -> None:
    change(card, *keys, value=value)
    if keys == ("config", "input_size") and value == 96 and engine == "torch":
        return  # torch takes crops of any size
    with pytest.raises(ModelError, match=message) as raised:
        load_model(str(card), device="cpu", engine=engine)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_run_refuses_a_card_in_one_line(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = Path(__file__).parents[2] / "samples" / "sample.mp4"
    change(card, "config", "layout", value=0.5)
    assert main(["run", str(sample), "--model", str(card), "-o", str(card.parent / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["run", str(sample), "--model", str(NATIVE_CARD), "-o", str(card.parent / "out")]) == 1
    assert "give it as --detector-model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("dim", value) for value in (7128, 0, -1, 10**9, 1e308, "12x", None, [], {}, True, 127)),
        *(("layers", value) for value in (10**9, -1)),
        *(("heads", value) for value in (0, 7128, 3)),
        *(("samples", 10**9), ("hidden", 10**9), ("vocabulary", 10**9), ("position_waves", 10**9), ("levels", True)),
        *(("backbone", value) for value in (True, None, [], "../../etc/passwd", "x" * 5000)),
        *(("parts", value) for value in (True, {}, "x")),
        ("colour", "red"),
    ],
)
def test_options_of_a_network_that_cannot_be(option: str, value: Any) -> None:
    """They are refused before anything of their size is made."""
    card = read_card(WEIGHTS / "fast.json")
    with pytest.raises(ModelError, match=rf"fast: .*\b({option}|backbone|parts)\b") as raised:
        build_network(replace(card, config={**card.config, option: value}))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("gcn", "hidden", 7),
        ("gcn", "hidden", [2] * 10**4),
        ("gcn", "hidden", ["2"]),
        ("gcn", "layout", []),
        ("gcn", "layout", "../300w"),
        ("gv", "bandwidths", [True]),
        ("keyposs", "resolution", 0),
        ("keyposs", "sigma", float("nan")),
        ("rht", "widths", [64, 64, 10**9]),
        ("rht", "widths", [62, 64, 64]),
        ("rht", "references", 10**9),
    ],
)
def test_options_of_the_papers_networks_that_cannot_be(name: str, option: str, value: Any) -> None:
    card = read_card(WEIGHTS / f"{name}.json")
    with pytest.raises(ModelError, match=f"^{name}: "):
        build_network(replace(card, config={**card.config, option: value}))


def test_every_number_of_a_system_has_a_range() -> None:
    numbers = set()
    for system in SYSTEMS.values():
        hints = get_type_hints(system.config)
        for option in fields(system.config):
            kind = get_args(hints[option.name])[0] if get_origin(hints[option.name]) is tuple else hints[option.name]
            if kind in (int, float):
                numbers.add(option.name)
                low, high = RANGES[option.name]
                values = option.default if isinstance(option.default, tuple) else [option.default]
                assert all(low <= value <= high for value in values), option.name
    assert numbers == RANGES.keys()


def test_a_detector_is_no_landmark_model() -> None:
    with pytest.raises(
        ModelError, match="card of a face detector, not of a landmark model; give it as --detector-model"
    ):
        load_model(str(NATIVE_CARD))


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("config", "network"), ..., "has no network"),
        (("config", "network"), 3, "has no network"),
        (("config", "network", "widths"), [16, 32, 64, 160, 10**9], "widths must be 5 whole numbers"),
        (("config", "network", "depths"), 4, "depths must be 4 whole numbers"),
        (("config", "network", "neck"), True, "neck must be a whole number"),
        (("config", "network", "colour"), 1, "nothing else"),
        (("config", "calibration"), [], "has no calibration"),
        (("config", "calibration", "score"), [0.0, 1.0], "equally many"),
        (("config", "calibration", "score"), [0.5] * 26 + [0.1], "rising"),
        (("config", "calibration", "share"), [float("nan")] * 27, "rising"),
        (("config", "threshold"), "0.5", "threshold must be"),
        (("config", "threshold"), ..., "threshold must be"),
    ],
)
def test_detectors_that_cannot_be(detector: Path, keys: tuple[str, ...], value: Any, message: str) -> None:
    change(detector, *keys, value=value)
    with pytest.raises(ModelError, match=rf"native\.json: .*{message}"):
        NativeDetector(detector, device="cpu")


# Checksums


def test_every_shipped_file_is_the_one_that_its_card_describes() -> None:
    """After weights are replaced: `vtrack export --run` writes checksums, `vtrack models --check` compares them."""
    for path in [*map(card_path, shipped()), NATIVE_CARD]:
        card = read_card(path)
        assert card.checksums.keys() >= {".onnx", ".safetensors"}
        assert check_files(card, path) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_altered_file_is_refused(card: Path, engine: str) -> None:
    """One bit, within a tensor, which no parser notices."""
    path = card.with_suffix(ENGINES[engine])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"fast\..*: this is not the file that the card of fast describes") as raised:
        load_model(str(card), device="cpu", engine=engine)
    assert f"vtrack models {card} --add-checksums" in str(raised.value)


def test_an_altered_graph_is_refused(card: Path, detector: Path) -> None:
    for path, load in (
        (card, lambda: load_model(str(card), device="cpu", engine="onnx")),
        (detector, lambda: NativeDetector(detector, device="cpu")),
    ):
        graph = path.with_suffix(".onnx")
        graph.write_bytes(graph.read_bytes() + b"\0")
        with pytest.raises(ModelError, match=r"\.onnx: this is not the file"):
            load()


def test_the_detectors_weights_are_compared_too(detector: Path) -> None:
    path = detector.with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="this is not the file"):
        load_facenet(read_card(detector), path)


def test_a_file_that_the_card_does_not_name_is_refused(card: Path) -> None:
    content = read_card(card)
    replace(content, checksums={".onnx": content.checksums[".onnx"]}).write(card)
    with pytest.raises(ModelError, match=r"fast\.int8\.onnx: the card of fast has no checksum of this file"):
        load_model(str(card), device="cpu", engine="int8")
    with pytest.raises(ModelError, match=r"fast\.safetensors: the card"):
        load_network(read_landmark_card(card), card.with_suffix(".safetensors"))


def test_cards_of_earlier_versions_are_used_with_one_warning(card: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(card, "checksums", value=...)
    for _ in range(2):
        load_model(str(card), device="cpu", engine="onnx")
    warnings = [record.getMessage() for record in caplog.records if "checksums" in record.getMessage()]
    assert warnings == [
        f"{card} has no checksums, so its weights are not checked; vtrack models {card} --add-checksums"
    ]
    assert add_checksums(card) == read_card(card) == read_card(WEIGHTS / "fast.json")


def test_training_starts_from_the_weights_that_their_card_describes(card: Path) -> None:
    weights, network = card.with_suffix(".safetensors"), build_network(read_card(card))
    assert load_weights(weights).keys() == network.state_dict().keys()
    altered = bytearray(weights.read_bytes())
    altered[-1] ^= 1
    weights.write_bytes(altered)
    for start in (load_weights, lambda path: init_backbone(network.backbone, path)):
        with pytest.raises(ModelError, match="this is not the file that the card of fast describes"):
            start(weights)
    for content in ("{}", None):  # of another program, and none
        card.write_text(content) if content else card.unlink()
        load_weights(weights)


@pytest.mark.parametrize("engine, ending", [("onnx", ".onnx"), ("int8", ".int8.onnx")])
def test_a_damaged_graph_without_a_checksum_is_one_line(card: Path, engine: str, ending: str) -> None:
    change(card, "checksums", value=...)
    graph = card.with_suffix(ending)
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    with pytest.raises(ModelError, match=rf"fast{ending}: not a model that onnxruntime can run: ") as raised:
        load_model(str(card), device="cpu", engine=engine)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "end, message",
    [
        ("import os; os.abort()", r"the graph is damaged: onnx crashes on it \(SIGABRT\)"),
        ("print(1 / 0)", "the graph is damaged: onnx cannot run it: ZeroDivisionError: division by zero"),
    ],
)
def test_a_graph_that_crashes_the_library_does_not_end_the_process(
    card: Path, monkeypatch: pytest.MonkeyPatch, end: str, message: str
) -> None:
    change(card, "checksums", value=...)
    monkeypatch.setattr(trial, "_COMMAND", end)
    with pytest.raises(ModelError, match=rf"fast\.onnx: {message}"):
        load_model(str(card), device="cpu", engine="onnx")


def test_modules_in_the_current_folder_are_not_imported_by_the_trial(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(card, "checksums", value=...)
    (tmp_path / "numpy.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(tmp_path)
    assert load_model(str(card), device="cpu", engine="onnx").input_size == 128


def test_the_command_checks_and_adds(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--check"]) == 0
    assert capsys.readouterr().out.count("as their card says") == len(shipped()) + 1
    card.with_suffix(".onnx").write_bytes(b"x")
    card.with_suffix(".int8.onnx").unlink()
    assert main(["models", str(card), "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"{card.with_suffix(end)}" for end in (".int8.onnx", ".onnx")]
    assert main(["models", str(card), "--add-checksums"]) == 0
    assert main(["models", str(card), "--check"]) == 0
    assert main(["models", "--add-checksums"]) == 2
    for suffix in (".onnx", ".safetensors"):
        card.with_suffix(suffix).unlink()
    with pytest.raises(ModelError, match="no weights beside the card"):
        add_checksums(card)
