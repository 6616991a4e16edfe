"""Channel options of every client: retries, load balancing, keepalive.

A call is attempted up to ATTEMPTS times on UNAVAILABLE, as long as no part of a response has arrived. So is
one that ended as CANCELLED, unless its caller cancelled it: a server that begins to drain drops calls so.
gRPC honours the server's `grpc-retry-pushback-ms`. Everything stays within the call's deadline. Every call of
the contract is idempotent, so retries are safe. The channels of a client of several servers do not retry,
because the next attempt goes to another server: `fovea.client.attempts`.
"""

from __future__ import annotations

import json
from typing import Any

import grpc.experimental

ATTEMPTS = 4
RETRY_BUFFER_BYTES = 33 * 1024 * 1024
"""What gRPC buffers of a request for retries: the servers' 32 MiB limit and framing.

Requests above gRPC's default of 256 KiB would silently not be retried.
"""

KEEPALIVE_MS = 60_000
KEEPALIVE_TIMEOUT_MS = 20_000
RECONNECT_MS = 1_000
"""The maximum reconnect backoff.

Shorter than the total retry time of a call, so a call that began during a server restart reaches the server.
gRPC's own backoff grows to two minutes.
"""

RESOLVE_MS = 2_000
"""How long addresses are kept at least, after a connection was lost.

A pod returns under another address. With gRPC's default of 30 s, a client's addresses can all be gone.
"""

CONNECT_MS = 5_000
"""How long an unresponsive address may take to connect. gRPC's default of 20 s is long for a typo."""

NO_RETRIES: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
SERVICE_CONFIG: dict[str, Any] = NO_RETRIES | {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
}

# The receive limit stays at gRPC's default of 4 MiB; no response is larger.
OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Servers allow pings without calls, so an idle client detects a dead connection before its next call.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_MS),
    # Of blocking clients. With retries, gRPC's other implementation of streams waits for ever, whatever the
    # deadline, if the service dies before its first response.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
)

OPTIONS_OF_SEVERAL = tuple(
    (name, json.dumps(NO_RETRIES) if name == "grpc.service_config" else value) for name, value in OPTIONS
)
"""Of a channel to one of several servers."""
