"""`roundhouse gpus` on boxes with a driver of the tests' own, and on snapshots of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.gpus import gpus
from common.errors import UsageError
from placement.inventory import snapshot
from placement.inventory.catalogue import boxed
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link, Process
from tests.fakes.nvml import TOPOLOGIES, build, environment

ROOT = Path(__file__).parents[2]
CALL = "from cli.gpus import gpus; gpus({as_json}, None)"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def on(library: Path, topology: str, *, as_json: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CALL.format(as_json=as_json)],
        env={**os.environ, **environment(library, topology)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


SHOWN = {
    "1x4090": ["1.2 GiB/23.7 GiB", "1.0 x16 (of 4.0 x16)", "Xorg[1903] 820 MiB, gnome-shell[2210]"],
    "2x4090": ["432/450W", "4.0 x8 (of 4.0 x16)", "slowed: sw power cap, sw thermal slowdown"],
    "4x5090": ["NVIDIA GeForce RTX 5090", "31.4 GiB", "system"],
    "8xh100-nvlink": ["7 peer(s)", "NVLink x18"],
    "gb10": ["NVIDIA GB10", "shares the system's memory", "python3[5150] 1.8 GiB"],
    "lost": ["error: has fallen off the bus: look for Xid lines in `dmesg`"],
    "mig": ["engines go on its slices", "3g.40gb of GPU 0", "1g.10gb of GPU 0"],
    "mismatch": ["error: the NVIDIA kernel module and the library libnvidia-ml are of different"],
    "rtx-pro-6000": ["NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "95.0 GiB"],
}


def test_every_box_is_looked_at() -> None:
    assert set(SHOWN) == set(TOPOLOGIES)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_table_for_people(library: Path, topology: str) -> None:
    text = on(library, topology)
    for part in SHOWN[topology]:
        assert part in text
    assert re.search(r"^CPU: .+, \d+ core\(s\).*, .+ of .+ free$", text, re.MULTILINE)
    assert "None" not in text


@pytest.mark.parametrize("topology", ["2x4090", "8xh100-nvlink", "mig", "lost", "mismatch"])
def test_the_json_is_a_snapshot_that_shows_the_same_table(
    library: Path, topology: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "box.json"
    file.write_text(on(library, topology, as_json=True))
    gpus(as_json=False, inventory=file)
    told = capsys.readouterr().out
    kept = [line for line in on(library, topology).splitlines() if not line.startswith("CPU:")]
    # The first line tells the moment, and the CPU's free memory goes up and down.
    shown = [line for line in told.splitlines() if not line.startswith("CPU:")]
    assert shown[1:] == kept[1:]
    gpus(as_json=True, inventory=file)
    assert capsys.readouterr().out == file.read_text()


def test_this_very_box(capsys: pytest.CaptureFixture[str]) -> None:
    gpus(as_json=True, inventory=None)
    assert json.loads(capsys.readouterr().out)["cpu"]["cores"]
    gpus(as_json=False, inventory=None)
    assert "CPU: " in capsys.readouterr().out


def show(box: Inventory, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    file = folder / "box.json"
    file.write_text(snapshot.dump(box))
    gpus(as_json=False, inventory=file)
    return capsys.readouterr().out.splitlines()


def test_what_is_unknown_is_a_dash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = show(Inventory(Cpu(None, (), (), 0, 0), (Gpu(0),)), tmp_path, capsys)
    assert cells(head)[0] == "GPU"
    assert cells(row) == ["0", "-", "-/-", *["-"] * 9]


def test_a_box_without_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpu = Cpu("AMD EPYC", (0, 1), ((0,), (1,)), 64 << 30, 32 << 30)
    assert show(Inventory(cpu), tmp_path, capsys) == [
        "CPU: AMD EPYC, 2 core(s), 2 NUMA nodes, 32.0 GiB of 64.0 GiB free",
        "no GPU: engines run on the CPU",
    ]


def test_a_box_from_the_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, *rows, _, links, first, _ = show(boxed([("RTX 4090", 2)]), tmp_path, capsys)
    assert [cells(row)[1] for row in rows] == ["NVIDIA GeForce RTX 4090"] * 2
    assert cells(links) == ["LINKS", "0", "1"]
    assert cells(first) == ["0", "-", "?"]


def test_links_and_processes_that_are_half_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Inventory(
        Cpu(None, (), (), 0, 0),
        (
            Gpu(0, processes=(Process(7, None, None),), power_watts=10.0),
            Gpu(1, processes=()),
            Gpu(2),
        ),
        (Link(0, 1, nvlinks=4), Link(0, 2, p2p=True, path="node")),
    )
    _, first, second, third, _, _, *rows = show(box, tmp_path, capsys)
    assert cells(first)[5:] == ["10W", "-", "-", "1 peer(s)", "-", "?[7] -", "-"]
    assert cells(second)[8:] == ["1 peer(s)", "-", "none", "-"]
    assert cells(third)[8] == "-"
    assert [cells(row) for row in rows] == [
        ["0", "-", "NVLink x4", "node +p2p"],
        ["1", "NVLink x4", "-", "?"],
        ["2", "node +p2p", "?", "-"],
    ]


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        gpus(as_json=False, inventory=tmp_path / "nowhere.json")
