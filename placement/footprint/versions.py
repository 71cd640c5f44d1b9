"""vLLM versions: reading them, and the boundaries at which its memory accounting changed."""

from __future__ import annotations

import re
from typing import Final

from placement.footprint.settings import Version

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")

V1_ENGINE: Final = (0, 8, 0)
V0_REMOVED: Final = (0, 11, 0)  # until then V1 needs compute capability 8.0
HYBRID_CACHE: Final = (0, 10, 0)  # before: sliding windows are kept in full
FLASH_ATTENTION_MLA: Final = (0, 13, 0)  # on Hopper in place of FlashMLA
GRAPHS_IN_BUDGET: Final = (0, 21, 0)  # PR 38284, and 0.92 of the memory with it
TOKENS_BY_REQUEST: Final = (0, 21, 0)  # PRs 38364 and 40694
IN_FLIGHT_BATCHES: Final = (0, 26, 0)  # PR 47728: windows outlive every batch in flight
HYBRID_PREFIX_CACHE: Final = (0, 27, 0)  # PR 50991: prefix caching by default for hybrids
PIPELINE_ASYNC: Final = (0, 32, 0)  # one batch more than stages with the second model runner


def parse_version(text: str | None) -> Version | None:
    """ "0.26.1rc1.dev608+g99a1030" is (0, 26, 1); None for what is no version."""
    match = _VERSION.match((text or "").strip())
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
