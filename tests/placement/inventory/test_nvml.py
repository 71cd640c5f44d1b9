"""Boxes as the real nvidia-ml-py reads them, from a driver library that the tests build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml
import pytest

from common.units import GIB
from placement.inventory import nvml, snapshot
from placement.inventory.inventory import Gpu, Inventory, Link, Process
from tests.fakes.nvml import TOPOLOGIES, build, environment, read

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
# The product's own way, in a process that has the library on its path. It is read anew each time.
READER = """
import json, os, sys
from pathlib import Path
from placement.inventory import look
from placement.inventory import snapshot
for line in sys.stdin:
    topology, meminfo = json.loads(line)
    os.environ["FAKE_NVML_TOPOLOGY"] = topology
    print(json.dumps(snapshot.dump(look.look(*map(Path, meminfo)))), flush=True)
"""
Look = Callable[..., Inventory]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def reader(library: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", READER],
        env={**os.environ, **environment(library, "1x4090")},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.fixture
def read_lines(reader: subprocess.Popen[str]) -> Callable[..., Inventory]:
    def read_lines(topology: str, *meminfo: Path) -> Inventory:
        assert reader.stdin is not None
        assert reader.stdout is not None
        print(json.dumps([topology, [*map(str, meminfo)]]), file=reader.stdin, flush=True)
        line = reader.stdout.readline()
        assert line, "the reader has died: its own message is on stderr"
        return snapshot.parse(json.loads(line))

    return read_lines


@pytest.fixture
def look(library: Path, tmp_path: Path, read_lines: Look) -> Look:
    """A box by the name of its topology, or one that is given whole."""

    def look(topology: str | dict[str, Any], *meminfo: Path) -> Inventory:
        if isinstance(topology, dict):
            file = tmp_path / "changed.json"
            file.write_text(json.dumps(topology))
            topology = str(file)
        lines = environment(library, topology)["FAKE_NVML_TOPOLOGY"]
        return read_lines(lines, *meminfo)

    return look


def test_one_card_with_all_that_it_tells(look: Look) -> None:
    found = look("1x4090")
    assert (found.driver_version, found.cuda_version) == ("575.57.08", "12.9")
    assert (found.links, found.errors) == ((), ())
    assert found.gpus == (
        Gpu(
            index=0,
            uuid="GPU-40900000-0000-4000-8000-000000000000",
            name="NVIDIA GeForce RTX 4090",
            total_bytes=24564 * MIB,
            reserved_bytes=346 * MIB,
            used_bytes=1210 * MIB,
            free_bytes=(24564 - 346 - 1210) * MIB,
            compute_capability=(8, 9),
            pci_bus_id="00000000:01:00.0",
            pcie_generation=1,
            pcie_generation_max=4,
            pcie_width=16,
            pcie_width_max=16,
            numa_node=0,
            utilization_percent=3,
            power_watts=21.4,
            power_limit_watts=450.0,
            temperature_celsius=38,
            throttle_reasons=(),
            processes=(
                Process(1903, "/usr/lib/xorg/Xorg", 820 * MIB),
                Process(2210, "/usr/bin/gnome-shell", 372 * MIB),
            ),
        ),
    )


def test_cuda_sees_less_than_nvml_counts(look: Look) -> None:
    (gpu,) = look("1x4090").gpus
    assert gpu.cuda_total_bytes == 24218 * MIB  # 23.65 GiB, as vLLM prints on a 4090


def test_two_cards_without_peer_to_peer(look: Look) -> None:
    found = look("2x4090")
    assert found.links == (Link(0, 1, nvlinks=0, p2p=False, path="hostbridge"),)
    assert not found.nvlinked((0, 1))
    _, busy = found.gpus
    assert (busy.pcie_width, busy.pcie_width_max) == (8, 16)
    assert busy.throttle_reasons == ("sw_power_cap", "sw_thermal_slowdown")
    assert busy.processes == (Process(48213, "/opt/venv/bin/python3", 9214 * MIB),)


def test_four_cards_on_two_nodes(look: Look) -> None:
    found = look("4x5090")
    assert [gpu.numa_node for gpu in found.gpus] == [0, 0, 1, 1]
    assert {gpu.compute_capability for gpu in found.gpus} == {(12, 0)}
    paths = {(link.a, link.b): link.path for link in found.links}
    assert len(paths) == 6
    assert [pair for pair, path in paths.items() if path == "node"] == [(0, 1), (2, 3)]
    assert len({gpu.uuid for gpu in found.usable_gpus}) == 4


def test_a_large_card(look: Look) -> None:
    (gpu,) = look("rtx-pro-6000").gpus
    assert gpu.cuda_total_bytes == 97249 * MIB
    assert not gpu.mig_enabled
    assert gpu.usable


def test_eight_cards_behind_nvlink_switches(look: Look) -> None:
    found = look("8xh100-nvlink")
    assert len(found.links) == 28
    assert {(link.nvlinks, link.p2p) for link in found.links} == {(18, True)}
    assert found.nvlinked(tuple(range(8)))


def test_mig_slices_stand_beside_their_parent(look: Look) -> None:
    parent, *slices = look("mig").gpus
    assert parent.mig_enabled
    assert not parent.usable
    assert [(each.index, each.mig_parent, each.mig_profile) for each in slices] == [
        (1, 0, "3g.40gb"),
        (2, 0, "2g.20gb"),
        (3, 0, "1g.10gb"),
    ]
    assert all(each.kind == "mig" and each.usable for each in slices)
    assert all((each.uuid or "").startswith("MIG-") for each in slices)
    first = slices[0]
    assert (first.total_bytes, first.used_bytes) == (40448 * MIB, 8192 * MIB)
    assert first.processes == (Process(7001, "/usr/bin/python3", 8190 * MIB),)
    assert first.pci_bus_id == parent.pci_bus_id
    assert (first.utilization_percent, first.power_watts) == (None, None)


def test_a_slice_that_cannot_be_read_is_listed_with_its_error(look: Look) -> None:
    box = read("mig")
    box["gpus"][0]["mig"][1]["errors"] = {"*": 16}
    _, first, second, third = look(box).gpus
    assert (first.error, third.error) == (None, None)
    assert second.error == "needs a reset: run `nvidia-smi --gpu-reset`, or reboot"
    assert (second.kind, second.mig_parent, second.usable) == ("mig", 0, False)


def test_a_gb10_has_the_systems_memory(look: Look, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 127600748 kB\nMemAvailable: 118566368 kB\n")
    (gpu,) = look("gb10", meminfo).gpus
    assert (gpu.kind, gpu.name, gpu.compute_capability) == ("unified", "NVIDIA GB10", (12, 1))
    assert gpu.cuda_total_bytes == 127600748 * 1024
    assert gpu.free_bytes == 118566368 * 1024
    assert (gpu.pcie_generation, gpu.power_limit_watts) == (None, None)
    assert gpu.power_watts == 11.17


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_lost_card_is_reported_and_the_other_one_works(look: Look, when: str) -> None:
    box = read("lost")
    if when == "while":
        box["gpus"][1]["errors"] = {"nvmlDeviceGetHandleByIndex_v2": 0, "*": 15}
    found = look(box)
    works, lost = found.gpus
    assert works.usable
    assert lost == Gpu(
        index=1,
        error="has fallen off the bus: look for Xid lines in `dmesg`, then power the box off "
        "and on",
    )
    assert found.links == ()
    assert found.usable_gpus == (works,)
    assert found.errors == ()


def test_a_lost_card_is_not_taken_for_one_of_unified_memory(look: Look) -> None:
    box = read("2x4090")
    del box["every_gpu"]["memory_mib"]
    first, second = look(box).gpus
    assert first.kind == "discrete"
    assert first.error == "NVML gives no memory figures for it: check `nvidia-smi`"
    assert second.usable


def test_a_mismatch_of_driver_and_library_is_an_error_of_the_box(look: Look) -> None:
    found = look("mismatch")
    assert found.gpus == ()
    (error,) = found.errors
    assert "of different versions" in error
    assert "reboot" in error
    assert found.cpu.cores


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"nvmlInit": 4}, "check the permissions of /dev/nvidia*"),
        ({"nvmlInit": 9}, "modprobe nvidia"),
        ({"nvmlInit": 999}, "NVML does not answer (Unknown Error): check `nvidia-smi`"),
        ({"nvmlDeviceGetCount_v2": 15}, "NVML does not answer (GPU is lost)"),
    ],
)
def test_a_driver_that_does_not_start(look: Look, errors: dict[str, int], message: str) -> None:
    found = look(read("2x4090") | {"errors": errors})
    assert found.gpus == ()
    (error,) = found.errors
    assert message in error


def test_an_older_driver_is_asked_in_its_own_way(look: Look) -> None:
    newer = {
        "nvmlDeviceGetMemoryInfo_v2": 13,
        "nvmlDeviceGetTemperatureV": 13,
        "nvmlDeviceGetCurrentClocksEventReasons": 13,
        "nvmlDeviceGetComputeRunningProcesses_v3": 13,
        "nvmlDeviceGetGraphicsRunningProcesses_v3": 13,
    }
    box = read("2x4090")
    box["every_gpu"]["errors"] = newer
    _, old = look(box).gpus
    _, new = look("2x4090").gpus
    assert old.reserved_bytes is None
    # The first version of the call counts what is reserved as used.
    assert (old.used_bytes, new.used_bytes) == ((9216 + 346) * MIB, 9216 * MIB)
    same = replace(old, reserved_bytes=new.reserved_bytes, used_bytes=new.used_bytes)
    assert same == new


@pytest.mark.parametrize(
    ("function", "facts"),
    [
        ("nvmlDeviceGetUUID", {"uuid"}),
        ("nvmlDeviceGetName", {"name"}),
        ("nvmlDeviceGetPciInfo_v3", {"pci_bus_id"}),
        ("nvmlDeviceGetCudaComputeCapability", {"compute_capability"}),
        ("nvmlDeviceGetCurrPcieLinkGeneration", {"pcie_generation"}),
        ("nvmlDeviceGetMaxPcieLinkGeneration", {"pcie_generation_max"}),
        ("nvmlDeviceGetCurrPcieLinkWidth", {"pcie_width"}),
        ("nvmlDeviceGetMaxPcieLinkWidth", {"pcie_width_max"}),
        ("nvmlDeviceGetMemoryAffinity", {"numa_node"}),
        ("nvmlDeviceGetUtilizationRates", {"utilization_percent"}),
        ("nvmlDeviceGetPowerUsage", {"power_watts"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_watts"}),
        ("nvmlDeviceGetTemperatureV", set()),  # asked for in an older way
        ("nvmlDeviceGetCurrentClocksEventReasons", set()),
        ("nvmlDeviceGetComputeRunningProcesses_v3", set()),
        ("nvmlDeviceGetMigMode", set()),
        ("nvmlDeviceGetMemoryInfo_v2", {"reserved_bytes", "used_bytes"}),
        ("nvmlDeviceGetNvLinkState", {"nvlinks"}),
        ("nvmlDeviceGetNvLinkRemotePciInfo_v2", set()),  # behind a switch it tells nothing
        ("nvmlDeviceGetP2PStatus", {"p2p"}),
        ("nvmlDeviceGetTopologyCommonAncestor", {"path"}),
    ],
)
def test_what_the_driver_refuses_is_unknown_and_the_rest_is_told(
    look: Look, function: str, facts: set[str]
) -> None:
    whole, box = look("8xh100-nvlink"), read("8xh100-nvlink")
    box["every_gpu"]["errors"] = {function: 999}
    found = look(box)
    assert (len(found.gpus), len(found.links)) == (8, 28)
    changed = {*changes(whole.gpus, found.gpus), *changes(whole.links, found.links)}
    assert {name for name, _ in changed} == facts
    assert {value for name, value in changed if name != "used_bytes"} <= {None}


def changes(before: Sequence[object], after: Sequence[object]) -> Iterator[tuple[str, object]]:
    for one, other in zip(before, after, strict=True):
        yield from vars(other).items() - vars(one).items()


def test_processes_may_be_hidden_or_only_what_they_hold(look: Look) -> None:
    box = read("1x4090")
    box["gpus"][0]["graphics"] = []
    box["gpus"][0]["compute"] = [{"pid": 12}]
    (gpu,) = look(box).gpus
    assert gpu.processes == (Process(12, None, None),)
    del box["every_gpu"]["compute"], box["gpus"][0]["compute"]
    del box["every_gpu"]["graphics"], box["gpus"][0]["graphics"]
    (gpu,) = look(box).gpus
    assert gpu.processes is None  # WSL2


def test_a_process_that_computes_and_draws_counts_once(look: Look) -> None:
    box = read("1x4090")
    box["gpus"][0]["compute"] = [{"pid": 1903, "used_mib": 820}]
    (gpu,) = look(box).gpus
    assert [process.pid for process in gpu.processes or ()] == [1903, 2210]


def test_two_cards_with_a_bridge(look: Look) -> None:
    box = read("2x4090")
    first, second = box["gpus"]
    lanes = {"type": "gpu", "lanes": 4}
    down = {"lanes": 1}
    first["nvlinks"] = [{"to": "00000000:41:00.0", **lanes}, down]
    second["nvlinks"] = [{"to": "00000000:01:00.0", **lanes}, down]
    box["every_pair"] |= {"p2p_read": 0, "p2p_write": 0, "p2p_nvlink": 0}
    found = look(box)
    assert found.links == (Link(0, 1, nvlinks=4, p2p=True, path="hostbridge"),)
    assert found.nvlinked((0, 1))


def test_a_name_that_is_no_text_does_not_stop_the_rest(
    library: Path, tmp_path: Path, look: Look, read_lines: Look
) -> None:
    lines = Path(environment(library, "1x4090")["FAKE_NVML_TOPOLOGY"]).read_bytes()
    spoilt = tmp_path / "spoilt.topology"
    spoilt.write_bytes(lines.replace(b"NVIDIA GeForce RTX 4090", b"\xff\xfe"))
    (gpu,) = read_lines(str(spoilt)).gpus
    assert gpu == replace(look("1x4090").gpus[0], name=None)


def test_a_card_that_is_lost_while_the_process_runs_and_comes_back(look: Look) -> None:
    assert [gpu.usable for gpu in look("2x4090").gpus] == [True, True]
    assert [gpu.usable for gpu in look("lost").gpus] == [True, False]
    assert [gpu.usable for gpu in look("2x4090").gpus] == [True, True]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_memory_adds_up_on_every_box(look: Look, topology: str) -> None:
    for gpu in look(topology).usable_gpus:
        assert gpu.cuda_total_bytes is not None
        assert gpu.used_bytes is not None
        assert gpu.free_bytes == gpu.cuda_total_bytes - gpu.used_bytes
        assert gpu.cuda_total_bytes > GIB


# Without the library, which this machine may have or not


@pytest.mark.parametrize("loaded", [False, True])
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loaded: bool) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    driver = tmp_path / "version"
    if loaded:
        driver.touch()
    found = nvml.read(driver)
    assert found.gpus == ()
    if loaded:
        (error,) = found.errors
        assert "libnvidia-ml.so.1 is not found: install" in error
    else:
        assert found.errors == ()  # a box without an NVIDIA driver has nothing wrong with it
