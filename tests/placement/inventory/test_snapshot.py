"""A box written down and read again, and what is not taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UsageError
from common.units import GIB
from placement.inventory import look, snapshot
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link, Process

BOX = Inventory(
    cpu=Cpu("AMD EPYC", (0, 2), ((0, 1), (2, 3)), 64 * GIB, 32 * GIB),
    gpus=(
        Gpu(
            index=0,
            name="NVIDIA GeForce RTX 4090",
            total_bytes=24 * GIB,
            reserved_bytes=GIB,
            used_bytes=2 * GIB,
            free_bytes=21 * GIB,
            compute_capability=(8, 9),
            power_watts=21.4,
            throttle_reasons=("sw_power_cap",),
            processes=(Process(1, "/usr/bin/x", None),),
        ),
        Gpu(1, error="has fallen off the bus"),
    ),
    links=(Link(0, 1, nvlinks=0, p2p=False, path="system"),),
    errors=("something",),
)


def write(folder: Path, text: str) -> Path:
    file = folder / "box.json"
    file.write_text(text)
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, snapshot.dump(BOX))
    assert snapshot.load(file) == BOX
    assert json.loads(file.read_text())["version"] == snapshot.VERSION


def test_this_box_too(tmp_path: Path) -> None:
    here = look.look()
    assert snapshot.load(write(tmp_path, snapshot.dump(here))) == here
    assert here.cpu.total_memory_bytes > GIB
    assert (here.taken_at or "").endswith("+00:00")


gpus = st.builds(
    Gpu,
    index=st.integers(0, 63),
    kind=st.sampled_from(["discrete", "mig", "unified", "apple"]),
    name=st.none() | st.text(),
    total_bytes=st.none() | st.integers(0, 2**50),
    reserved_bytes=st.none(),
    free_bytes=st.none(),
    used_bytes=st.none() | st.integers(0, 2**50),
    power_watts=st.none() | st.floats(0, 1e4),
    throttle_reasons=st.none() | st.tuples(st.text()),
    processes=st.none() | st.just(()) | st.tuples(st.builds(Process)),
)


@given(gpu=gpus)
def test_any_gpu_survives(gpu: Gpu) -> None:
    box = Inventory(BOX.cpu, (gpu,))
    assert snapshot.parse(snapshot.dump(box)) == box


def changed(*path: str | int, to: Any) -> str:
    data = json.loads(snapshot.dump(BOX))
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return json.dumps(data)


def without(*path: str | int) -> str:
    data = json.loads(snapshot.dump(BOX))
    place = data
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no snapshot of a box: it has no `version`"),
        ("{}", "is no snapshot of a box: it has no `version`"),
        (changed("version", to=7), "version: 7 is not known, this Roundhouse reads 1"),
        (changed("version", to="1"), "version: '1' is not known"),
        (changed("version", to=True), "version: True is not known"),
        (without("cpu"), "cpu: is missing"),
        (without("gpus"), "gpus: is missing (null, if it is not known)"),
        (without("gpus", 0, "index"), "gpus[0].index: is missing"),
        (without("gpus", 1, "total_bytes"), "gpus[1].total_bytes: is missing (null"),
        (changed("gpus", 0, "total_byte", to=1), "gpus[0].total_byte: unknown field"),
        (changed("gpus", to=None), "gpus: input should be a valid array, not None"),
        (changed("gpus", 1, to=5), "gpus[1]: input should be an object, not 5"),
        (
            changed("gpus", 0, "total_bytes", to="24 GiB"),
            "gpus[0].total_bytes: input should be a valid integer, not '24 GiB'",
        ),
        (changed("gpus", 0, "total_bytes", to=True), "gpus[0].total_bytes: input should be"),
        (changed("gpus", 0, "total_bytes", to=1.5), "gpus[0].total_bytes: input should be"),
        (changed("gpus", 0, "kind", to="tpu"), "gpus[0].kind: input should be 'discrete'"),
        (changed("gpus", 0, "compute_capability", to=[8]), "gpus[0].compute_capability[1]: is"),
        (changed("links", 0, "path", to="far"), "links[0].path: input should be 'internal'"),
        (changed("cpu", "cores", 1, to="x"), "cpu.cores[1]: input should be a valid integer"),
        (changed("gpus", 0, "total_bytes", to=-1), "gpus[0].total_bytes: -1 is less than 0"),
        (
            changed("gpus", 0, "free_bytes", to=24 * GIB),
            "gpus[0].free_bytes: is more than total_bytes less reserved_bytes",
        ),
        (changed("gpus", 1, "index", to=0), "gpus[1].index: 0 stands twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        snapshot.load(file)
    assert refused.value.message.startswith(f"{file}: {message}")
    assert refused.value.message.endswith(
        "; write a new one on that box with `roundhouse gpus --json > FILE`"
    )
    assert "\n" not in refused.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json: there is no such file; write a new one"):
        snapshot.load(tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        snapshot.load(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        snapshot.load(tmp_path / "x")
