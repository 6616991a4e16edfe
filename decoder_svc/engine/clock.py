"""The moments of a request inside an engine, and the stage times that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.engine.protocol import EngineTimings


@dataclass
class RequestClock:
    """In seconds. `blocked_*` add up while the request waits for rows and nothing else."""

    submitted: float
    admitted: float | None = None
    blocked_before_slot: float = 0.0
    blocked_in_slot: float = 0.0
    first_token: float | None = None
    last_token: float | None = None
    blocked_since: float | None = None

    def mark_blocked(self, blocked: bool, now: float) -> None:
        """Note whether the request waits for rows from now on."""
        if self.blocked_since is not None:
            if self.admitted is None:
                self.blocked_before_slot += now - self.blocked_since
            else:
                self.blocked_in_slot += now - self.blocked_since
        self.blocked_since = now if blocked else None

    def mark_token(self, now: float) -> None:
        self.first_token = now if self.first_token is None else self.first_token
        self.last_token = now

    def timings(self) -> EngineTimings:
        """Queue, rows and prefill add up to ttft. All are zero before the first token."""
        if self.admitted is None or self.first_token is None or self.last_token is None:
            return EngineTimings()
        return EngineTimings(
            queue_ms=1e3 * (self.admitted - self.submitted - self.blocked_before_slot),
            rows_ms=1e3 * (self.blocked_before_slot + self.blocked_in_slot),
            prefill_ms=1e3 * (self.first_token - self.admitted - self.blocked_in_slot),
            ttft_ms=1e3 * (self.first_token - self.submitted),
            decode_ms=1e3 * (self.last_token - self.first_token),
        )
