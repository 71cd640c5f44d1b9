"""Plays that package, as far as mlx_server.py asks it; PYTHONPATH names the folder two up."""

from __future__ import annotations

import os

cpu, gpu = "cpu", "gpu"


def is_available(device: str) -> bool:
    return device == cpu or "FAKE_METAL" in os.environ


def set_default_device(device: str) -> None:
    os.environ["FAKE_DEVICE"] = device


def set_cache_limit(n_bytes: int) -> int:
    return n_bytes
