"""MLX by mlx_lm.server: as a child process (child.py, mlx_server.py)."""

from __future__ import annotations

import json
import re
import urllib.error
from typing import Any

from common.errors import EngineLoadError
from engines.child import DIRECT, ChildEngine
from engines.mlx_args import command_line, kept_tokens
from engines.mlx_request import TEXT
from engines.startup_log import Cause

_WARM_UP: dict[str, Any] = {"prompt": "Hello", "max_tokens": 1}
_WARM_UP_TIMEOUT_S = 300.0
_REFUSED = re.compile(r"^mlx_lm\.server: error: (.+)$", re.MULTILINE)
# Metal's words, MLX's own, and Linux' for a process that was ended for memory.
_OUT_OF_MEMORY = re.compile(
    r"insufficient memory|out of memory|unable to allocate|attempting to allocate|bad_alloc"
    r"|MemoryError|exit code -9",
    re.IGNORECASE,
)


class MlxEngine(ChildEngine):
    """See engines.base.Engine."""

    title = "mlx_lm.server"
    module = "engines.mlx_server"

    def _asked(self) -> dict[str, Any]:
        spec = self._spec
        return {
            "arguments": command_line(spec),
            "context_tokens": spec.max_model_len,
            "served_name": spec.served_names[0],
            "token": spec.token,
            "on_cpu": spec.on_cpu,
        }

    def _cause(self, text: str, own: str) -> Cause:
        return cause(text, own)

    def _of_ready(self, url: str) -> dict[str, Any]:
        self._warm_up(url)
        return {
            "max_model_len": self._spec.max_model_len,
            "kv_tokens": kept_tokens(self._spec),
            "modalities": frozenset({"text"}),
        }

    def _warm_up(self, url: str) -> None:
        """The first token compiles Metal's kernels, and shows that it does answer."""
        request = self._request(TEXT, url)
        request.data = json.dumps(_WARM_UP).encode()
        try:
            DIRECT.open(request, timeout=_WARM_UP_TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            told = error.read().decode(errors="replace")
            raise EngineLoadError(f"mlx_lm.server does not answer: {told}") from None


def cause(text: str, own: str) -> Cause:
    """The reason that the child told, or what its command line had against an argument."""
    refused = _REFUSED.findall(text)
    message = f"mlx_lm.server: {refused[-1]}" if refused else own
    return Cause(message, bool(_OUT_OF_MEMORY.search(message)))
