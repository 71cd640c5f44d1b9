"""How weights are stored: read from a quantization_config, or from a method's name alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from placement.models.compressed_tensors import compressed
from placement.models.facts import Quantization, Scheme
from placement.models.schemes import (
    FP8,
    FP8_BLOCK,
    FP8_CHANNEL,
    INT4,
    INT8,
    METHODS,
    MXFP4,
    MXFP8,
    NF4,
    NVFP4,
    TENSORS,
    flat,
    made,
    named,
)

Config = Mapping[str, Any]


def quantization_of(config: Config) -> Quantization | None:
    """The checkpoint's own quantization; None for plain weights."""
    section = _section(config)
    if not section:
        return _from_text(config.get("checkpoint_quant"))
    method = str(section.get("quant_method") or section.get("quant_algo") or "").lower()
    if "config_groups" in section and method in {"", "fp8", "nvfp4", "modelopt"} | TENSORS:
        return compressed(section, method if method in TENSORS else "compressed-tensors")
    reader = _READERS.get(method) or (_modelopt if section.get("quant_algo") else None)
    return reader(section) if reader else named(method)


def _section(config: Config) -> Config:
    """config.json's quantization_config, or what modelopt writes in a file of its own."""
    for name in ("quantization_config", "compression_config", "quantization"):
        section = config.get(name)
        if isinstance(section, Mapping):
            inner = section.get("quantization")  # ModelOpt's own file wraps it once more
            return inner if isinstance(inner, Mapping) else section
    nested = config.get("text_config") or config.get("llm_config")
    return _section(nested) if isinstance(nested, Mapping) else {}


def _from_text(text: Any) -> Quantization | None:
    """A sentence such as "mxfp4 experts (4.25 bit/param), rest bf16"."""
    if not isinstance(text, str):
        return None
    word = next((w for w in re.findall(r"[\w-]+", text.lower()) if w in METHODS), None)
    found = named(word)
    if found and "experts" in text and not found.experts_only:
        return made(found.method, found.scheme, experts_only=True)
    return found


def _fp8(section: Config) -> Quantization:
    block = section.get("weight_block_size")
    scheme = FP8
    if isinstance(block, list | tuple) and len(block) == 2:
        scale = 1 if section.get("scale_fmt") == "ue8m0" and section.get("fp4") else 4
        scheme = Scheme(8, group=int(block[1]), block_rows=int(block[0]), scale_bytes=scale)
    return made("fp8", scheme, unquantized=_skipped(section))


def _int4(section: Config) -> Quantization:
    """AWQ, GPTQ and AutoRound: integers in groups of inputs, each with a scale and a zero point."""
    bits = float(section.get("bits") or section.get("w_bit") or section.get("wbits") or 4)
    group = int(section.get("group_size") or section.get("q_group_size") or 128)
    method = str(section.get("quant_method", "gptq")).lower()
    # A symmetric GPTQ file stores zero points all the same; the engine drops them.
    symmetric = not section.get("zero_point", True) if method == "awq" else section.get("sym", True)
    zero = 0.0 if symmetric else bits
    scheme = Scheme(bits, group=max(group, 0), scale_bytes=2, zero_bits=zero)
    return made(
        method,
        scheme,
        unquantized=_skipped(section),
        lm_head=bool(section.get("lm_head")),
        only=tuple(flat(section.get("modules_in_block_to_quantize"))),
        overrides=tuple(_per_layer(section, scheme)),
    )


def _per_layer(section: Config, scheme: Scheme) -> Iterable[tuple[str, Scheme | None]]:
    """GPTQModel's `dynamic` rules ("-:pattern" excludes) and AutoRound's `extra_config`."""
    for pattern, rule in (section.get("dynamic") or {}).items():
        sign, _, body = str(pattern).partition(":")
        if sign == "-":
            yield f"re:{body}", None
        elif isinstance(rule, Mapping) and "bits" in rule:
            yield f"re:{body or sign}", _with_bits(scheme, rule)
    for name, rule in (section.get("extra_config") or {}).items():
        if isinstance(rule, Mapping):
            plain = float(rule.get("bits", scheme.weight_bits)) >= 16
            yield str(name), None if plain else _with_bits(scheme, rule)


def _with_bits(scheme: Scheme, rule: Config) -> Scheme:
    return Scheme(
        float(rule.get("bits", scheme.weight_bits)),
        group=max(0, int(rule.get("group_size", scheme.group))),
        scale_bytes=scheme.scale_bytes,
        zero_bits=scheme.zero_bits,
    )


def _bitsandbytes(section: Config) -> Quantization:
    skipped = tuple(flat(section.get("llm_int8_skip_modules")))
    if section.get("load_in_8bit"):
        return made("bitsandbytes", INT8, unquantized=skipped)
    return made("bitsandbytes", NF4, unquantized=skipped)


def _mxfp4(section: Config) -> Quantization:
    return made("mxfp4", MXFP4, unquantized=_skipped(section), experts_only=True)


def _torchao(section: Config) -> Quantization:
    text = str(section.get("quant_type", "")).lower()
    if "int4" in text:
        return made("torchao", Scheme(4, group=128, scale_bytes=2, zero_bits=16))
    return made("torchao", FP8_CHANNEL if "float8" in text or "fp8" in text else INT8)


def _fbgemm(section: Config) -> Quantization:
    return made("fbgemm_fp8", FP8_CHANNEL, unquantized=_skipped(section))


def _quark(section: Config) -> Quantization:
    weight = (section.get("global_quant_config") or {}).get("weight") or {}
    weight = weight[0] if isinstance(weight, list) and weight else weight
    dtype = str(weight.get("dtype", "")) if isinstance(weight, Mapping) else ""
    scheme = MXFP4 if "fp4" in dtype else INT4 if "int4" in dtype else FP8
    return made("quark", scheme, unquantized=tuple(flat(section.get("exclude"))))


def _modelopt(section: Config) -> Quantization:
    """NVIDIA's ModelOpt: an algorithm's name, or one for each layer."""
    algorithm = str(section.get("quant_algo", "FP8"))
    layers = section.get("quantized_layers")
    if isinstance(layers, Mapping):
        rules = tuple((at, _algorithm(str(one.get("quant_algo")))) for at, one in layers.items())
        first = next((scheme for _, scheme in rules if scheme), FP8)
        skipped = (*_skipped(section), "*")
        return made("modelopt_mixed", first, unquantized=skipped, overrides=rules)
    scheme = _algorithm(algorithm) or FP8
    return made("modelopt", scheme, unquantized=_skipped(section))


def _algorithm(name: str) -> Scheme | None:
    upper = name.upper()
    if "NVFP4" in upper or upper == "W4A8_NVFP4_FP8":
        return NVFP4
    if "MXFP4" in upper:
        return MXFP4
    if "MXFP8" in upper:
        return MXFP8
    if "W4A16" in upper or "INT4" in upper:
        return INT4
    if "BLOCK" in upper:
        return FP8_BLOCK
    return FP8 if "FP8" in upper or "INT8" in upper or "W8A8" in upper else None


def _skipped(section: Config) -> tuple[str, ...]:
    return tuple(item for name in _SKIPPED for item in flat(section.get(name)))


_SKIPPED = (
    "modules_to_not_convert",
    "ignored_layers",
    "ignore",
    "exclude_modules",
    "skip_modules",
)


_READERS: dict[str, Callable[[Config], Quantization]] = {
    "fp8": _fp8,
    "awq": _int4,
    "gptq": _int4,
    "auto-round": _int4,
    "auto_round": _int4,
    "intel/auto-round": _int4,
    "compressed-tensors": lambda s: compressed(s, "compressed-tensors"),
    "compressed_tensors": lambda s: compressed(s, "compressed-tensors"),
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "torchao": _torchao,
    "fbgemm_fp8": _fbgemm,
    "quark": _quark,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
}
