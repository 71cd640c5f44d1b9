"""The catalogue of GPUs: names as people and drivers write them, figures, and boxes made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UsageError
from common.units import GIB
from placement.inventory import snapshot
from placement.inventory.catalogue import GpuSpec, boxed, find, match, specs
from tests.fakes.nvml import TOPOLOGIES, read

WORKSTATION = "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("rtx4090", "NVIDIA GeForce RTX 4090"),
        ("RTX-4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("geforce rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("H100", "NVIDIA H100-SXM5-80GB"),
        ("h100 sxm", "NVIDIA H100-SXM5-80GB"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100-SXM5-80GB"),
        ("H100 PCIe", "NVIDIA H100-PCIE-80GB"),
        ("rtx pro 6000", WORKSTATION),
        ("RTX PRO 6000 Blackwell", WORKSTATION),
        ("pro 6000 max-q", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
        ("pro 6000 server", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
        ("A100 40G", "NVIDIA A100-40GB"),
        ("a100 pcie", "NVIDIA A100-PCIE-80GB"),
        ("Tesla T4", "NVIDIA T4"),
        ("l4", "NVIDIA L4"),
        ("L40S", "NVIDIA L40S"),
        ("gb10", "NVIDIA GB10 (DGX Spark)"),
        ("DGX Spark", "NVIDIA GB10 (DGX Spark)"),
        ("M4 Max 128GB", "Apple M4 Max 128GB (40-core GPU)"),
        ("apple m3 max 36", "Apple M3 Max 36GB (30-core GPU)"),
    ],
)
def test_names_as_people_write_them(asked: str, name: str) -> None:
    assert find(asked).name == name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("A100", "may be any of 'NVIDIA A100-SXM4-80GB', 'NVIDIA A100-PCIE-80GB', 'NVIDIA A100-40"),
        ("M3 Max", "may be any of 'Apple M3 Max 36GB (30-core GPU)', "),
        ("RTX 4080", "is not in the catalogue; nearest are 'NVIDIA GeForce RTX 4090'"),
        ("H100 NVL", "is not in the catalogue; nearest are 'NVIDIA H100"),
        ("RTX 4090 Laptop", "is not in the catalogue; nearest are 'NVIDIA GeForce RTX 4090'"),
        ("L40", "is not in the catalogue; nearest are "),
        ("A10G", "is not in the catalogue; nearest are "),
        ("zzzzzz", "is not in the catalogue; known are 'NVIDIA GeForce RTX 3090', "),
        ("nvidia", "is not in the catalogue; known are "),
        ("", "is not in the catalogue; known are "),
    ],
)
def test_a_name_of_none_or_of_several_is_refused(asked: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        find(asked)
    assert refused.value.message.startswith(f"GPU {asked!r} {message}")


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100-SXM5-80GB"),
        ("NVIDIA H100 PCIe", "NVIDIA H100-PCIE-80GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-80GB"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("Tesla T4", "NVIDIA T4"),
        ("NVIDIA GB10", "NVIDIA GB10 (DGX Spark)"),
        (WORKSTATION, WORKSTATION),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA A10G", None),
        ("NVIDIA L40", None),
        ("RTX 4090", None),
        ("", None),
        (None, None),
    ],
)
def test_names_as_the_driver_writes_them(told: str | None, name: str | None) -> None:
    found = match(told)
    assert (found.name if found else None) == name


def test_macs_of_one_chip_are_told_apart_by_their_memory() -> None:
    assert match("Apple M3 Max") is None
    small, large = match("Apple M3 Max", 36 * GIB), match("Apple M3 Max", 128 * GIB)
    assert small is not None
    assert large is not None
    assert (small.bandwidth_bytes_per_s, large.bandwidth_bytes_per_s) == (300e9, 400e9)
    assert match("Apple M3 Max", 200 * GIB) is None


@pytest.mark.parametrize("topology", sorted(set(TOPOLOGIES) - {"mismatch"}))
def test_the_cards_of_the_fake_boxes_are_known(topology: str) -> None:
    box = read(topology)
    spec = match((box.get("every_gpu", {}) | box["gpus"][0])["name"])
    assert spec is not None
    capability = (box.get("every_gpu", {}) | box["gpus"][0])["compute_capability"]
    assert ".".join(map(str, spec.compute_capability or ())) == capability


# Figures


def test_figures_are_in_bytes_and_per_second() -> None:
    spec = find("RTX 4090")
    assert spec.memory_bytes == 24 * GIB
    assert spec.nvml_total_bytes == 24564 << 20
    assert spec.bandwidth_bytes_per_s == 1008e9
    assert spec.flops.bf16 == pytest.approx(165.2e12)
    assert spec.flops.fp4 is None
    assert (spec.nvlink, spec.compute_capability) == (False, (8, 9))


def test_a_total_that_an_engine_printed_is_taken_at_its_lowest() -> None:
    spec = find("RTX 4090")
    assert spec.cuda_total_bytes == int(23.52 * GIB)
    assert not spec.cuda_total_estimated


def test_a_total_that_nobody_printed_is_estimated_on_the_low_side() -> None:
    by_nvml, by_nameplate = find("L40S"), find("B200")
    assert by_nvml.cuda_total_estimated
    assert by_nameplate.cuda_total_estimated
    lowest = min(
        spec.cuda_total_bytes / spec.nvml_total_bytes
        for spec in specs()
        if spec.nvml_total_bytes and not spec.cuda_total_estimated
    )
    assert by_nvml.nvml_total_bytes is not None
    assert by_nvml.cuda_total_bytes / by_nvml.nvml_total_bytes == pytest.approx(lowest, rel=1e-6)
    assert lowest == pytest.approx(22.03 / (23034 / 1024), rel=1e-6)  # of an L4
    assert by_nameplate.cuda_total_bytes == int(180 * GIB * 14.56 / 16)  # of a T4


def test_nvlink_is_known_unknown_or_not_there() -> None:
    h100, bridged, card = find("H100"), find("RTX 3090"), find("RTX 5090")
    assert (h100.nvlink, h100.nvlinks, h100.nvlink_bytes_per_s) == (True, 18, 450e9)
    assert (bridged.nvlink, bridged.nvlinks) == (None, None)
    assert (card.nvlink, card.nvlinks) == (False, None)


def test_a_card_without_bf16_computes_in_fp16() -> None:
    assert find("T4").flops.bf16 is None
    assert find("T4").flops.half == 65e12
    assert find("L4").flops.half == find("L4").flops.bf16


def test_a_precision_that_a_card_lacks_is_computed_in_16_bits() -> None:
    assert find("H100").flops_at("fp8") == 1978e12
    assert find("H100").flops_at("bf16") == find("H100").flops_at("fp4") == 989e12
    assert find("RTX 3090").flops_at("fp8") == 71e12
    assert find("T4").flops_at("bf16") == 65e12
    assert find("GB10").flops_at("bf16") is None


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_every_figure_is_possible_and_has_a_source(spec: GpuSpec) -> None:
    assert 0 < spec.cuda_total_bytes <= spec.memory_bytes
    assert 1e11 < (spec.bandwidth_bytes_per_s or 0) < 1e13
    given = {"bandwidth_gb_per_s", "memory_gb"}
    given |= {name for name, value in vars(spec.flops).items() if value}
    given |= {"nvml_total_mib"} if spec.nvml_total_bytes else set()
    given |= {"cuda_total_gib_seen"} if not spec.cuda_total_estimated else set()
    given |= {"tdp_watts"} if spec.tdp_watts else set()
    given |= {"price_usd"} if spec.price_usd else set()
    given |= {"compute_capability"} if spec.compute_capability else set()
    given |= {"nvlink_gb_per_s", "nvlinks"} if spec.nvlinks else set()
    assert given <= spec.sources.keys()


def test_no_two_have_the_same_name() -> None:
    names = [spec.name for spec in specs()]
    assert len(set(names)) == len(names)
    assert all(find(name).name == name for name in names)
    nicknames = [nick.lower() for spec in specs() for nick in spec.nicknames]
    assert len(set(nicknames)) == len(nicknames)


# Boxes


def test_a_box_of_cards_on_pcie() -> None:
    box = boxed([("RTX 4090", 2)])
    assert [gpu.index for gpu in box.usable_gpus] == [0, 1]
    for gpu in box.gpus:
        assert gpu.name == "NVIDIA GeForce RTX 4090"
        assert gpu.total_bytes == 24564 << 20
        assert gpu.cuda_total_bytes == gpu.free_bytes == int(23.52 * GIB)
        assert match(gpu.name) is find("4090")
    assert not box.nvlinked((0, 1))
    assert [link.nvlinks for link in box.links] == [0]


def test_a_box_with_nvlink() -> None:
    box = boxed([("H100", 8)])
    assert len(box.links) == 28
    assert box.nvlinked(tuple(range(8)))


def test_a_mixed_box() -> None:
    box = boxed([("H100", 2), ("RTX 4090", 1)])
    assert [gpu.index for gpu in box.gpus] == [0, 1, 2]
    assert box.nvlinked((0, 1))
    assert not box.nvlinked((0, 2))


def test_what_a_bridge_would_do_stays_unknown() -> None:
    box = boxed([("RTX 3090", 2)])
    assert [link.nvlinks for link in box.links] == [None]
    assert not box.nvlinked((0, 1))


def test_a_mac_and_a_spark() -> None:
    (mac,) = boxed([("M4 Max 128GB", 1)]).gpus
    assert (mac.kind, mac.total_bytes, mac.cuda_total_bytes) == ("apple", 128 * GIB, 96 * GIB)
    spec = match(mac.name, mac.total_bytes)
    assert spec is not None
    assert spec.bandwidth_bytes_per_s == 546e9
    (spark,) = boxed([("GB10", 1)]).gpus
    assert spark.kind == "unified"
    assert 100 * GIB < (spark.cuda_total_bytes or 0) < 121 * GIB


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([("RTX 4090", 0)], "GPU 'RTX 4090': 0 of it cannot be; ask for 1 to 64"),
        ([("RTX 4090", -1)], "-1 of it cannot be"),
        ([("RTX 4090", 10**9)], "1000000000 of it cannot be"),
        ([("RTX 4090", 60), ("H100", 60)], "120 GPUs are more than one box holds; at most 64"),
        ([("M4 Max 128GB", 2)], r"Apple M4 Max 128GB \(40-core GPU\) stands alone in its box"),
        ([("RTX 4090", 1), ("GB10", 1)], r"NVIDIA GB10 \(DGX Spark\) stands alone in its box"),
        ([("nothing", 1)], "GPU 'nothing' is not in the catalogue"),
    ],
)
def test_boxes_that_cannot_be(wanted: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        boxed(wanted)


@given(name=st.sampled_from([spec.name for spec in specs() if spec.kind == "discrete"]))
def test_any_box_can_be_written_down(name: str) -> None:
    box = boxed([(name, 3)])
    assert snapshot.parse(snapshot.dump(box)) == box
