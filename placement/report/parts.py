"""What a GPU's memory is divided into, and how each part is called wherever a plan is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "weights",
    "kv_cache",
    "activation",
    "non_torch",
    "cudagraph",
    "context",
    "margin",
    "others",
    "reserve",
    "driver",
    "free",
]


@dataclass(frozen=True)
class Part:
    """`letter` stands for the part where there is no room for its label."""

    name: Name
    letter: str
    label: str
    meaning: str


# In the order in which a bar shows them.
PARTS: tuple[Part, ...] = (
    Part("weights", "W", "Weights", "the model itself, the share of it that this GPU holds"),
    Part("kv_cache", "K", "KV cache", "what the engine remembers of the requests in progress"),
    Part("activation", "A", "Activation", "the peak of intermediate results during a step"),
    Part("non_torch", "N", "Non-torch", "buffers of libraries, such as those that join GPUs"),
    Part("cudagraph", "G", "CUDA graphs", "recorded steps, which save the time to launch them"),
    Part("context", "C", "Context", "what each engine process takes before it loads anything"),
    Part("margin", "M", "Margin", "kept free in case the prediction is too low"),
    Part("others", "O", "Others", "held by other processes when this box was looked at"),
    Part("reserve", "R", "Reserve", "kept free because the config says so (gpu.reserve_gib)"),
    Part("driver", "D", "Driver", "kept by the driver for itself; no program can have it"),
    Part("free", "F", "Free", "given to nobody"),
)
BY_NAME: dict[str, Part] = {part.name: part for part in PARTS}
