"""How weights are stored: read from a quantization_config, or from a method's name alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from placement.models.facts import Quantization, Scheme

Config = Mapping[str, Any]

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
_BY_NAME: dict[str, Scheme] = {
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


def quantization_of(config: Config) -> Quantization | None:
    """The checkpoint's own quantization; None for plain weights."""
    section = _section(config)
    if not section:
        return _from_text(config.get("checkpoint_quant"))
    method = str(section.get("quant_method") or section.get("quant_algo") or "").lower()
    if "config_groups" in section and method in {"", "fp8", "nvfp4", "modelopt"} | _TENSORS:
        return _compressed(section, method if method in _TENSORS else "compressed-tensors")
    reader = _READERS.get(method) or (_modelopt if section.get("quant_algo") else None)
    return reader(section) if reader else named(method)


def named(method: str | None, hint: str = "") -> Quantization | None:
    """A method known by its name alone, in its usual form; `hint` may hold the model's name."""
    key = (method or "").lower()
    if key in NONE:
        return None
    if key in _TENSORS | {"modelopt"}:
        key = hinted(hint) or key
    scheme = _BY_NAME.get(key)
    if scheme is None:
        return None
    return _make(method or key, scheme, experts_only=key in _EXPERTS_ONLY)


def hinted(name: str) -> str | None:
    """What a model's name says of its quantization."""
    return next((method for pattern, method in _HINTS if pattern.search(name)), None)


def known_methods() -> list[str]:
    return sorted(_BY_NAME)


_TENSORS = {"compressed-tensors", "compressed_tensors"}


def _make(method: str, scheme: Scheme, **more: Any) -> Quantization:
    return Quantization(method, scheme.bits, scheme=scheme, **more)


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
    word = next((w for w in re.findall(r"[\w-]+", text.lower()) if w in _BY_NAME), None)
    found = named(word)
    if found and "experts" in text and not found.experts_only:
        return _make(found.method, found.scheme, experts_only=True)
    return found


def _fp8(section: Config) -> Quantization:
    block = section.get("weight_block_size")
    scheme = FP8
    if isinstance(block, list | tuple) and len(block) == 2:
        scale = 1 if section.get("scale_fmt") == "ue8m0" and section.get("fp4") else 4
        scheme = Scheme(8, group=int(block[1]), block_rows=int(block[0]), scale_bytes=scale)
    return _make("fp8", scheme, unquantized=_skipped(section))


def _int4(section: Config) -> Quantization:
    """AWQ, GPTQ and AutoRound: integers in groups of inputs, each with a scale and a zero point."""
    bits = float(section.get("bits") or section.get("w_bit") or section.get("wbits") or 4)
    group = int(section.get("group_size") or section.get("q_group_size") or 128)
    method = str(section.get("quant_method", "gptq")).lower()
    # A symmetric GPTQ file stores zero points all the same; the engine drops them.
    symmetric = not section.get("zero_point", True) if method == "awq" else section.get("sym", True)
    zero = 0.0 if symmetric else bits
    scheme = Scheme(bits, group=max(group, 0), scale_bytes=2, zero_bits=zero)
    return _make(
        method,
        scheme,
        unquantized=_skipped(section),
        lm_head=bool(section.get("lm_head")),
        only=tuple(_flat(section.get("modules_in_block_to_quantize"))),
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
    skipped = tuple(_flat(section.get("llm_int8_skip_modules")))
    if section.get("load_in_8bit"):
        return _make("bitsandbytes", INT8, unquantized=skipped)
    return _make("bitsandbytes", NF4, unquantized=skipped)


def _mxfp4(section: Config) -> Quantization:
    return _make("mxfp4", MXFP4, unquantized=_skipped(section), experts_only=True)


def _torchao(section: Config) -> Quantization:
    text = str(section.get("quant_type", "")).lower()
    if "int4" in text:
        return _make("torchao", Scheme(4, group=128, scale_bytes=2, zero_bits=16))
    return _make("torchao", FP8_CHANNEL if "float8" in text or "fp8" in text else INT8)


def _fbgemm(section: Config) -> Quantization:
    return _make("fbgemm_fp8", FP8_CHANNEL, unquantized=_skipped(section))


def _quark(section: Config) -> Quantization:
    weight = (section.get("global_quant_config") or {}).get("weight") or {}
    weight = weight[0] if isinstance(weight, list) and weight else weight
    dtype = str(weight.get("dtype", "")) if isinstance(weight, Mapping) else ""
    scheme = MXFP4 if "fp4" in dtype else INT4 if "int4" in dtype else FP8
    return _make("quark", scheme, unquantized=tuple(_flat(section.get("exclude"))))


def _modelopt(section: Config) -> Quantization:
    """NVIDIA's ModelOpt: an algorithm's name, or one for each layer."""
    algorithm = str(section.get("quant_algo", "FP8"))
    layers = section.get("quantized_layers")
    if isinstance(layers, Mapping):
        rules = tuple((at, _algorithm(str(one.get("quant_algo")))) for at, one in layers.items())
        first = next((scheme for _, scheme in rules if scheme), FP8)
        skipped = (*_skipped(section), "*")
        return _make("modelopt_mixed", first, unquantized=skipped, overrides=rules)
    scheme = _algorithm(algorithm) or FP8
    return _make("modelopt", scheme, unquantized=_skipped(section))


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


def _compressed(section: Config, method: str) -> Quantization:
    """compressed-tensors: groups of modules, each with a scheme of its own."""
    groups = [g for g in (section.get("config_groups") or {}).values() if isinstance(g, Mapping)]
    rules: list[tuple[str, Scheme | None]] = []
    for group in groups:
        scheme = _group_scheme(group, section)
        rules += [(str(target), scheme) for target in group.get("targets") or ["Linear"]]
    whole = next((scheme for target, scheme in rules if target == "Linear"), None)
    named_rules = tuple(rule for rule in rules if rule[0] != "Linear")
    fallback = next((scheme for _, scheme in rules if scheme), INT8)
    skipped = tuple(_flat(section.get("ignore")))
    if whole is None and named_rules:
        skipped = (*skipped, "*")  # only what a rule names is quantized
    lm_head = any("lm_head" in target for target, _ in named_rules)
    return _make(
        method, whole or fallback, unquantized=skipped, lm_head=lm_head, overrides=named_rules
    )


def _group_scheme(group: Config, section: Config) -> Scheme | None:
    weights = group.get("weights")
    if not isinstance(weights, Mapping):
        return None
    form = str(group.get("format") or section.get("format") or "")
    bits = float(weights.get("num_bits") or 8)
    if "mxfp4" in form or (bits == 4 and weights.get("scale_dtype") == "torch.uint8"):
        return MXFP4
    if "nvfp4" in form or (bits == 4 and weights.get("type") == "float"):
        return NVFP4
    if "mxfp8" in form:
        return MXFP8
    return _plain_group(weights, bits)


def _plain_group(weights: Config, bits: float) -> Scheme:
    strategy = weights.get("strategy") or ("group" if weights.get("group_size") else "tensor")
    block = weights.get("block_structure")
    if strategy == "block" and isinstance(block, list | tuple):
        return Scheme(bits, group=int(block[1]), block_rows=int(block[0]))
    if strategy == "group":
        zero = 0.0 if weights.get("symmetric", True) else bits
        group = int(weights.get("group_size") or 128)
        return Scheme(bits, group=max(0, group), scale_bytes=2, zero_bits=zero)
    return Scheme(bits, block_rows=0 if strategy == "tensor" else 1)


def _skipped(section: Config) -> tuple[str, ...]:
    return tuple(item for name in _SKIPPED for item in _flat(section.get(name)))


_SKIPPED = (
    "modules_to_not_convert",
    "ignored_layers",
    "ignore",
    "exclude_modules",
    "skip_modules",
)


def _flat(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _flat(item)]
    return []


_READERS: dict[str, Callable[[Config], Quantization]] = {
    "fp8": _fp8,
    "awq": _int4,
    "gptq": _int4,
    "auto-round": _int4,
    "auto_round": _int4,
    "intel/auto-round": _int4,
    "compressed-tensors": lambda s: _compressed(s, "compressed-tensors"),
    "compressed_tensors": lambda s: _compressed(s, "compressed-tensors"),
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "torchao": _torchao,
    "fbgemm_fp8": _fbgemm,
    "quark": _quark,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
}
