"""How weights may be stored: the usual schemes, and what a method's name alone stands for."""

from __future__ import annotations

import re
from typing import Any

from placement.models.facts import Quantization, Scheme

TENSORS = {"compressed-tensors", "compressed_tensors"}
FP8 = Scheme(8, block_rows=0)
FP8_CHANNEL = Scheme(8, scale_bytes=4)
FP8_BLOCK = Scheme(8, group=128, block_rows=128)
INT8 = Scheme(8, scale_bytes=4)
INT4 = Scheme(4, group=128, scale_bytes=2)
INT4_ZEROS = Scheme(4, group=128, scale_bytes=2, zero_bits=4)
NVFP4 = Scheme(4, group=16, scale_bytes=1)
MXFP4 = Scheme(4, group=32, scale_bytes=1)
MXFP8 = Scheme(8, group=32, scale_bytes=1)
NF4 = Scheme(4, group=64, scale_bytes=4)

# What the engine does when it is only told a method's name, with the methods' usual settings.
METHODS: dict[str, Scheme] = {
    "fp8": FP8,
    "fp8_per_tensor": FP8,
    "fp8_per_channel": FP8_CHANNEL,
    "fp8_per_block": FP8_BLOCK,
    "fbgemm_fp8": FP8_CHANNEL,
    "ptpc_fp8": FP8_CHANNEL,
    "modelopt": FP8,
    "online": FP8,
    "deepspeedfp": FP8,
    "deepseek_v4_fp8": FP8_BLOCK,
    "mxfp8": MXFP8,
    "modelopt_mxfp8": MXFP8,
    "compressed-tensors": INT8,
    "int8": INT8,
    "w8a8": INT8,
    "int8_per_channel_weight_only": INT8,
    "experts_int8": INT8,
    "awq": INT4_ZEROS,
    "auto_awq": INT4_ZEROS,
    "awq_marlin": INT4_ZEROS,
    "gptq": INT4,
    "auto_gptq": INT4,
    "gptq_marlin": INT4,
    "gptq_marlin_24": INT4,
    "moe_wna16": INT4,
    "w4a16": INT4,
    "int4": INT4,
    "auto-round": INT4,
    "auto_round": INT4,
    "intel/auto-round": INT4,
    "inc": INT4,
    "hqq": Scheme(4, group=64, scale_bytes=2, zero_bits=16),
    "nvfp4": NVFP4,
    "modelopt_fp4": NVFP4,
    "nvfp4_per_token": NVFP4,
    "mxfp4": MXFP4,
    "gpt_oss_mxfp4": MXFP4,
    "quark": FP8,
    "bitsandbytes": NF4,
    "bnb": NF4,
    "torchao": INT8,
}
_EXPERTS_ONLY = {"experts_int8", "gpt_oss_mxfp4", "mxfp4"}
_HINTS = (
    (re.compile(r"nvfp4|[-_]fp4", re.IGNORECASE), "nvfp4"),
    (re.compile(r"mxfp4", re.IGNORECASE), "mxfp4"),
    (re.compile(r"[-_]awq", re.IGNORECASE), "awq"),
    (re.compile(r"bnb|bitsandbytes", re.IGNORECASE), "bitsandbytes"),
    (re.compile(r"w4a16|int4|4[-_]?bit|gptq", re.IGNORECASE), "gptq"),
    (re.compile(r"fp8[-_]dynamic|w8a8|int8|8[-_]?bit", re.IGNORECASE), "w8a8"),
    (re.compile(r"fp8", re.IGNORECASE), "fp8"),
)
NONE = {"", "auto", "none"}


def named(method: str | None, hint: str = "") -> Quantization | None:
    """A method known by its name alone, in its usual form; `hint` may hold the model's name."""
    key = (method or "").lower()
    if key in NONE:
        return None
    if key in TENSORS | {"modelopt"}:
        key = hinted(hint) or key
    scheme = METHODS.get(key)
    if scheme is None:
        return None
    return made(method or key, scheme, experts_only=key in _EXPERTS_ONLY)


def hinted(name: str) -> str | None:
    """What a model's name says of its quantization."""
    return next((method for pattern, method in _HINTS if pattern.search(name)), None)


def known_methods() -> list[str]:
    return sorted(METHODS)


def made(method: str, scheme: Scheme, **more: Any) -> Quantization:
    return Quantization(method, scheme.bits, scheme=scheme, **more)


def flat(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text for item in value for text in flat(item)]
    return []
