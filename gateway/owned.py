"""A replica that runs here, as the router sees it before its first report."""

from __future__ import annotations

from common.config import Config
from engines.base import ReplicaSpec
from router.replicas import Replica

# Promises to keep a connection and closes it after every stream, so the next request on it is lost.
_CLOSES_CONNECTIONS = frozenset({"llamacpp"})


def of_spec(config: Config, spec: ReplicaSpec) -> Replica:
    """What its engine has no slot for waits in the lane, where it may still go elsewhere."""
    limit = config.max_in_flight_of(spec.model)
    return Replica(
        spec.id,
        spec.model,
        min(limit, spec.slots or limit),
        spec.token,
        spec.gpu_ids,
        keeps_alive=spec.engine not in _CLOSES_CONNECTIONS,
    )
