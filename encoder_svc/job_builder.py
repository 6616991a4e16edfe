"""Request checks: from an image id and a plan to an EncodeJob. Reads the facts of uploads, never rows."""

from __future__ import annotations

import time

from encoder_svc.core import EncodeJob, RowIdentity
from encoder_svc.permits import WritePermits
from encoder_svc.reduction import choice
from encoder_svc.store.keys import RowKey, variant
from encoder_svc.tenant import Tenant
from encoder_svc.uploads import Uploads, pixels_of
from fovea.contract.errors import EncoderMismatch, MaxPixelsOutOfRange
from fovea.contract.plan import ALL_ROWS, EncodePlan
from fovea.deadline import NO_DEADLINE, Deadline


class JobBuilder:
    """Builds jobs for rows of `identity`, and issues their write permits."""

    def __init__(
        self, identity: RowIdentity, uploads: Uploads, permits: WritePermits, default_max_pixels: int
    ) -> None:
        self.identity = identity
        self._uploads = uploads
        self._permits = permits
        self._default_max_pixels = default_max_pixels

    async def build(
        self,
        tenant: Tenant,
        image: str,
        plan: EncodePlan,
        fingerprint: str,
        deadline: Deadline = NO_DEADLINE,
    ) -> EncodeJob:
        """Raises ImageNotStored, EncoderMismatch, MaxPixelsOutOfRange, and what `choice.check` raises."""
        started = time.perf_counter()
        if fingerprint and fingerprint != self.identity.fingerprint:
            expected, actual = fingerprint[:80], self.identity.fingerprint
            raise EncoderMismatch(
                f"this encoder serves rows {actual}, not {expected}", expected=expected, actual=actual
            )
        choice.check(plan)
        rows = ALL_ROWS if plan.rows.all else plan.rows
        plan = EncodePlan(self.limit(plan.max_pixels), plan.flat_tolerance, rows)
        permit = self._permits.issue(tenant)
        facts = (await self._uploads.describe(tenant, image)).facts
        planned = self.identity.geometry.plan(facts.width, facts.height, plan.max_pixels)
        fields = self.identity.fields(planned.grid_thw, plan.flat_tolerance)
        permit.pixels = pixels_of(facts.pixel_digest)
        key = RowKey(tenant.rows, permit.pixels, variant(fields))
        size, layout = (facts.width, facts.height), self.identity.layout
        return EncodeJob(permit, image, key, fields, size, plan, planned, layout, started, deadline)

    def limit(self, max_pixels: int | None) -> int:
        """Resolve the `max_pixels` of a plan. Raises MaxPixelsOutOfRange."""
        geometry = self.identity.geometry
        if max_pixels is None:
            return geometry.within(self._default_max_pixels)
        if not geometry.min_pixels <= max_pixels <= geometry.max_pixels:
            raise MaxPixelsOutOfRange("plan.max_pixels", geometry.min_pixels, geometry.max_pixels, max_pixels)
        return max_pixels
