"""Failures of tiers."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import TemplatedError


class TierUnavailable(TemplatedError, code=StatusCode.UNAVAILABLE, reason="TIER_UNAVAILABLE"):
    """A tier cannot answer now, and the request may not go on to another."""

    text = "the tier {tier} {why}"
    retry_after_s = 1.0
    tier: str
    why: str
