"""What policies see of replicas, made up; and the strategies that make it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from hypothesis import strategies as st

from router.call import Call


@dataclass
class Load:
    id: str
    in_flight: int = 0
    served: int = 0
    tokens_in_flight: int = 0
    max_in_flight: int = 1 << 20


def replicas(count: int) -> list[Load]:
    return [Load(f"m-{number}") for number in range(count)]


def chain(*blocks: int) -> tuple[int, ...]:
    """Hashes that include all before them, as a prompt's blocks have."""
    hashes, before = [], 0
    for block in blocks:
        before = crc32(block.to_bytes(8, "little"), before)
        hashes.append(before)
    return tuple(hashes)


def call(*blocks: int, session: str | None = None) -> Call:
    return Call(chain(*blocks), 64 * len(blocks), session)


counts = st.integers(min_value=0, max_value=1000)
loads = st.builds(
    Load,
    id=st.text(min_size=1, max_size=8),
    in_flight=counts,
    served=counts,
    tokens_in_flight=st.integers(0, 100_000),
)
snapshots = st.lists(loads, min_size=1, max_size=12, unique_by=lambda load: load.id)
# Few different blocks and short chains, so that prompts share prefixes.
chains = st.lists(st.integers(0, 2), max_size=6).map(lambda blocks: chain(*blocks))
sessions = st.none() | st.sampled_from(["a", "b", "c", "d"])
calls = st.builds(Call, chains, st.integers(0, 10_000), sessions)


def spread(loads: Sequence[float]) -> float:
    return max(loads) * len(loads) / sum(loads)
