"""Processes that learn one model together, started by torchrun as a user would."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import torch

from vtrack.training.common.checkpoint import load_run
from vtrack.training.common.team import Team

SCRIPT = """
import sys, torch
from vtrack.training.common.team import Team

team = Team("cpu")
model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
for parameter in [*model[0].parameters(), *model[1].parameters()]:
    torch.nn.init.ones_(parameter)
    parameter.grad = torch.full_like(parameter, 1.0 + 2 * team.rank)
for parameter in model[2].parameters():  # took no part
    torch.nn.init.zeros_(parameter)
model[1].running_mean.fill_(10.0 * team.rank)
team.average_gradients(model)
assert all((p.grad == 2.0).all() for p in [*model[0].parameters(), *model[1].parameters()])
assert model[2].weight.grad is None and (model[1].running_mean == 5.0).all()
team.check(model, 1)
with team.leader_first():
    open(sys.argv[1], "a").write(str(team.rank))
with torch.no_grad():
    model[2].bias += team.rank
try:
    team.check(model, 1)
except Exception as error:
    open(sys.argv[1] + str(team.rank), "w").write(str(error))
team.leave()
"""


def torchrun(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *args]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True)


def test_gradients_are_shared_and_drift_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun("script.py", "order", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "order").read_text() == "01"
    assert all("different weights" in (tmp_path / f"order{rank}").read_text() for rank in range(2))


def test_alone_there_is_nobody_to_agree_with() -> None:
    team, model = Team("cpu"), torch.nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    team.average_gradients(model)
    team.check(model, 1)
    with team.leader_first():
        assert team.leads
    assert (model.weight.grad == 1).all()
    team.leave()


def test_two_processes_train_one_model(faces_dir: Path, tmp_path: Path) -> None:
    command = [
        *("-m", "vtrack", "train", "--data", f"frl189:{faces_dir}/frl189.zip", "--size", "64", "--dim", "32"),
        *("--layers", "1", "--batch", "4", "--every", "2", "--out", "run"),
    ]
    done = torchrun(*command, "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = torchrun(*command, "--steps", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tensors, state = load_run(tmp_path / "run" / "last.safetensors")
    assert state["step"] == 4 and all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    with (tmp_path / "run" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    assert done.stdout.count("step 4/4") == 1
