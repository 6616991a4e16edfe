"""How the channel of every client behaves: what is tried again, who is asked, when the link is looked after.

A call is tried up to ATTEMPTS times while the answer is UNAVAILABLE and nothing of a response has come. A
server that says when to come back is obeyed: gRPC reads its `grpc-retry-pushback-ms` and waits that long. All
of it stays within the call's deadline. Every call of the contract may be repeated; none changes what a second
one would give.
"""

from __future__ import annotations

import json

ATTEMPTS = 4
RETRY_BUFFER_BYTES = 33 * 1024 * 1024
"""What gRPC keeps of a request in order to send it again: the 32 MiB that servers receive, and the frames
around it. A request above its own default of 256 KiB would silently be tried once."""

KEEPALIVE_MS = 60_000
KEEPALIVE_TIMEOUT_MS = 20_000
RECONNECT_MS = 1_000
"""The longest pause between attempts to connect. Shorter than the retries of one call together, so that a
call that began while a server was starting again finds it. gRPC's own pauses grow to two minutes."""

CONNECT_MS = 5_000
"""How long an address may stay mute before it counts as unreachable; gRPC's own 20 s are long for a typing
error."""

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

# The receive limit is not here: it stays at gRPC's default of 4 MiB, and no answer needs more.
OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Servers allow pings without calls; an idle client learns of a dead link before its next call.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
)
