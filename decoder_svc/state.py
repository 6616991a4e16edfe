"""The state of the decoder process: loading, serving, draining; its limits and description.

Calls before the model is ready are refused with NotReady. Independent of protobuf.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from decoder_svc.answer import ModelFacts
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.encoders.broadcast import as_stream
from decoder_svc.encoders.deletion import delete_everywhere
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.encoders.storing import put_everywhere
from decoder_svc.engine.protocol import EngineLoad
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.settings import DecoderLimits
from decoder_svc.tiers.router import Router
from fovea.contract.answer import Event
from fovea.contract.cache import Deletion
from fovea.contract.count import Count
from fovea.contract.errors import ImageTooLarge, InvalidArgument, NotReady
from fovea.contract.ids import is_digest
from fovea.contract.image import StoredImage
from fovea.contract.info import ServerInfo, describe_layout
from fovea.deadline import Deadline
from fovea.hashing import digest_of
from fovea.server.guards import TenantQuota

FEATURES: tuple[str, ...] = (
    "generate", "complete", "count_tokens", "put_image", "max_pixels", "response_format", "logprobs",
    "max_visual_tokens", "detail", "reduction", "repeat_policy", "alternatives", "delete_image",
    "tiers", "presence_penalty", "frequency_penalty", "logit_bias", "top_logprobs", "checkpoint_defaults",
    "tools", "tool_choice", "reasoning", "thinking", "continue_final_message",
)  # fmt: skip
INFO_S = 2.0


@dataclass(frozen=True)
class DecoderDescription:
    """Facts that do not change while the process runs."""

    model: ModelFacts
    engine: str
    dtype: str
    limits: DecoderLimits
    budget: ServerBudget


@dataclass
class LoadingProgress:
    """Share of the model that is loaded, 0 to 1. Reaches 1 once the dummy request is answered."""

    share: float = 0.0

    def update(self, loaded: int, total: int) -> None:
        self.share = 0.99 * loaded / max(1, total)


class ServiceState:
    """State of a decoder process. `open` admits calls once every engine has answered a dummy request."""

    def __init__(
        self,
        description: DecoderDescription,
        router: Router,
        pool: EncoderPool,
        loading: LoadingProgress,
    ) -> None:
        """`pool` holds the encoders of the decoder's own model; tiers may have others."""
        self.description = description
        self.loading = loading
        self.draining = False
        self.attention = ""
        self._router = router
        self._is_open = False
        self._pool = pool
        self._pools = (pool, *router.pools)
        self._running: Counter[str] = Counter()
        limits = description.limits
        self._requests = TenantQuota("max_tenant_requests", limits.max_tenant_requests)
        self._images = TenantQuota("max_tenant_images", limits.max_tenant_images)

    def open(self, attention: str) -> None:
        self._is_open = True
        self.attention = attention
        self.loading.share = 1.0

    @property
    def state(self) -> str:
        if self.draining:
            return "draining"
        if not self._is_open:
            return "loading"
        return "serving" if all(engine.healthy for engine in self._router.engines) else "failed"

    def _ready(self) -> Router:
        if not self._is_open:
            raise NotReady(self.loading.share)
        return self._router

    async def answer(
        self, request: ChatRequest, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        """As `Router.answer`."""
        router = self._ready()
        tenant = request.tenant
        with self._within_quota(request), self._pool.held(tenant) as encoders:
            self._running[tenant] += 1
            try:
                async with aclosing(router.answer(request, encoders, deadline, used)) as events:
                    async for event in events:
                        yield event
            finally:
                self._running.subtract([tenant])
                self._running += Counter()  # drops tenants without answers

    async def count(self, request: ChatRequest, deadline: Deadline) -> Count:
        router = self._ready()
        with self._within_quota(request), self._pool.held(request.tenant) as encoders:
            return await router.count(request, encoders, deadline)

    @contextmanager
    def _within_quota(self, request: ChatRequest) -> Iterator[None]:
        """Raises TenantBusy if the tenant's requests, or their images, would be more than it may have."""
        tenant, images = request.tenant, len(request.images)
        with self._requests.held(tenant), self._images.held(tenant, images):
            yield

    def check_size(self, byte_size: int) -> None:
        """Raises ImageTooLarge."""
        limit = self.description.limits.max_image_bytes
        if byte_size > limit:
            raise ImageTooLarge(byte_size, limit)

    async def put(
        self, tenant: str, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline
    ) -> StoredImage:
        """Store an image on the encoders that rank highest for its digest.

        Without a digest the bytes are buffered to hash them.
        """
        bounded = self._bounded(chunks)
        if not digest:
            data = b"".join([chunk async for chunk in bounded])
            digest = await digest_of(data)
            bounded = as_stream(data)
        else:
            _check_digest("header.digest", digest)
        with self._held(tenant) as fleets:
            return await put_everywhere(fleets, digest, bounded, deadline)

    async def describe(self, tenant: str, digest: str, deadline: Deadline) -> StoredImage:
        """Raises ImageNotStored if no encoder holds the image, EncoderUnavailable if one that may is down."""
        _check_digest("digest", digest)
        with self._pool.held(tenant) as encoders:
            return await encoders.describe(digest, deadline)

    async def delete(self, tenant: str, digest: str, deadline: Deadline) -> Deletion:
        """Delete an image on every encoder, then in the caches here. Raises InvalidArgument for no digest."""
        _check_digest("digest", digest)
        with self._held(tenant) as fleets:
            try:
                return await delete_everywhere(
                    _encoders(fleets), lambda encoder: encoder.delete(tenant, digest, deadline)
                )
            finally:  # also for a caller that leaves: some encoders have deleted the image
                self._forget(tenant, digest)
                for fleet in fleets:
                    fleet.cache.delete(
                        lambda rows: rows.digest == digest and (rows.shared or rows.tenant == tenant)
                    )

    async def purge(self, tenant: str, deadline: Deadline) -> Deletion:
        """Delete a tenant on every encoder, then in the caches here."""
        with self._held(tenant) as fleets:
            try:
                return await delete_everywhere(
                    _encoders(fleets), lambda encoder: encoder.purge(tenant, deadline)
                )
            finally:
                self._forget(tenant)
                for fleet in fleets:
                    fleet.cache.delete(lambda rows: rows.tenant == tenant)

    @contextmanager
    def _held(self, tenant: str) -> Iterator[list[Fleet]]:
        """The encoders of every model, those of the decoder's own first."""
        with ExitStack() as stack:
            yield [stack.enter_context(pool.held(tenant)) for pool in self._pools]

    def _forget(self, tenant: str, digest: str = "") -> None:
        for pool in self._pools:
            pool.forget(tenant, digest)
        self._router.forget(tenant, digest)

    def encoders_up(self) -> dict[str, bool]:
        """Whether each encoder answered when last called, by address."""
        return {address: up for pool in self._pools for address, up in pool.up().items()}

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            self.check_size(size)
            yield chunk

    def load(self) -> EngineLoad | None:
        return self._router.own.load() if self.state == "serving" else None

    def _load_seen_by(self, tenant: str | None) -> dict[str, int]:
        """The load of all requests, or the running answers of a tenant."""
        load = self.load()
        if load is None:
            return {}
        if tenant is not None:
            return {"running": self._running[tenant], "kv_blocks": load.kv_total_blocks}
        return {
            "waiting": load.waiting,
            "running": load.running,
            "kv_blocks_used": load.kv_used_blocks,
            "kv_blocks": load.kv_total_blocks,
        }

    async def info(self, tenant: str | None = None) -> ServerInfo:
        """What this server is; with the load of all tenants, or of a single tenant."""
        description = self.description
        router = self._router if self.state == "serving" else None
        deadline = Deadline.after(INFO_S)
        listed = await asyncio.gather(*(pool.states(deadline) for pool in self._pools))
        return ServerInfo(
            version=version("fovea"),
            model=description.model.name,
            fingerprint=description.model.fingerprint,
            state=self.state,
            progress=self.loading.share,
            dtype=description.dtype,
            features=FEATURES,
            limits=vars(description.limits),
            load=self._load_seen_by(tenant),
            details={
                "layout": describe_layout(router.own.row_layout if router else None),
                "engine": description.engine,
                "attention": self.attention,
                "kv_bytes_per_token": description.model.kv_bytes_per_token,
                "readable_text_px": description.budget.readable_text_px,
                "encoders": [
                    encoder.describe(with_load=tenant is None) for each in listed for encoder in each
                ],
                "model_notice": description.model.notice,
                "tiers": [step.describe() for step in router.steps] if router else [],
            },
        )


def _encoders(fleets: Iterable[Fleet]) -> list[RemoteEncoder]:
    """Every encoder once: two models may name the same."""
    return list({address: e for fleet in fleets for address, e in fleet.encoders.items()}.values())


def _check_digest(field: str, digest: str) -> None:
    if not is_digest(digest):
        what = "must be sha256: and 64 lower-case hexadecimal digits"
        raise InvalidArgument.of_field(field, what, actual=digest[:80])
