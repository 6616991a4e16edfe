"""A cache of exact answers: a request that repeats an earlier one of its tenant in full is answered from it.

Only answers at temperature 0 are kept, of which a repetition would be the same. The key is the whole request:
a new field becomes part of it. There is no similarity of any kind. An image that is named by its id must
still be stored, as for every other answer. An answer is dropped with the image or the tenant that it is
about.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, fields, replace

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.images.prepare import gather_or_cancel
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.tier import Answers, Figure, Tier
from decoder_svc.tiers.values import Bytes, Seconds, Share
from fovea.contract.answer import Event, Finished, Started, Text, joined
from fovea.contract.errors import FoveaError
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Step, Totals
from fovea.contract.rows import RowOrigin
from fovea.deadline import Deadline

NOT_OF_THE_KEY = frozenset({"id", "tier"})
"""Fields of a request that change no answer that this tier may give."""
ENTRY_BYTES, TOKEN_BYTES, IMAGE_BYTES, OTHER_TOKENS = 1024, 40, 2048, 5
"""Estimates of what an entry, a token of its answer and an image of its receipt take in memory.

An alternative with its log-probability takes as much as OTHER_TOKENS tokens.
"""


@dataclass(frozen=True)
class ExactSettings:
    """Bounds of the cache. `tenant_share` is the share of `max_bytes` that a tenant's answers may take."""

    max_bytes: Bytes = 64 << 20
    expiry_s: Seconds = 600.0
    tenant_share: Share = 0.5


def request_key(request: ChatRequest) -> bytes:
    """A digest of everything that the answer depends on, the tenant included.

    An image counts by its id. Id and budget determine its plan and its rows, and the messages the prompt.
    """
    values = {f.name: getattr(request, f.name) for f in fields(request) if f.name not in NOT_OF_THE_KEY}
    values["images"] = tuple((image.digest, image.size) for image in request.images)
    sampling = request.sampling
    values["sampling"] = vars(sampling) | {
        "stop": tuple(sampling.stop),
        "logit_bias": sorted(sampling.logit_bias.items()),
        "explicit": sorted(sampling.explicit),
    }
    return hashlib.sha256(repr(sorted(values.items())).encode()).digest()


@dataclass(frozen=True)
class KeptAnswer:
    """A complete answer, the tier that gave it, and when, by the cache's clock."""

    tenant: str
    digests: frozenset[str]
    started: Started
    text: Text
    finished: Finished
    tier: str
    since: float

    @property
    def bytes(self) -> int:
        text = self.text
        others = sum(map(len, text.top_logprobs))
        tokens = len(text.token_ids) + len(text.logprobs) + len(text.token_bytes) + OTHER_TOKENS * others
        images = len(self.finished.receipt.images)
        calls = "".join(call.name + call.arguments for call in text.tool_calls)
        said = len((text.text + text.reasoning + calls).encode())
        return ENTRY_BYTES + said + TOKEN_BYTES * tokens + IMAGE_BYTES * images


@dataclass(eq=False)
class _Coming:
    """An answer that is being computed. A deletion makes it void."""

    tenant: str
    digests: frozenset[str]
    void: bool = False


class AnswerCache:
    """Answers by key, least recently used first. Lives in a single event loop."""

    def __init__(self, settings: ExactSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._settings = settings
        self._clock = clock
        self._entries: OrderedDict[bytes, KeptAnswer] = OrderedDict()
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._coming: set[_Coming] = set()

    @property
    def used_bytes(self) -> int:
        return sum(self._bytes.values())

    def now(self) -> float:
        return self._clock()

    def holds(self, key: bytes) -> bool:
        """Whether `find` would return an answer; not counted."""
        entry = self._entries.get(key)
        return entry is not None and self._clock() - entry.since < self._settings.expiry_s

    def find(self, key: bytes) -> KeptAnswer | None:
        if not self.holds(key):
            self._drop(key)
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return self._entries[key]

    @contextmanager
    def coming(self, tenant: str, digests: frozenset[str]) -> Iterator[_Coming]:
        """An answer that may be kept at the end of the block, unless a deletion comes first."""
        coming = _Coming(tenant, digests)
        self._coming.add(coming)
        try:
            yield coming
        finally:
            self._coming.remove(coming)

    def keep(self, key: bytes, answer: KeptAnswer) -> None:
        """Keep an answer; evict others of its tenant beyond the tenant's share, then the oldest of all."""
        self._drop(key)
        limit = self._settings.max_bytes
        share = int(limit * self._settings.tenant_share)
        if answer.bytes > share:
            return
        while self._bytes[answer.tenant] + answer.bytes > share:
            self._evict(next(k for k, entry in self._entries.items() if entry.tenant == answer.tenant))
        while self.used_bytes + answer.bytes > limit:
            self._evict(next(iter(self._entries)))
        self._entries[key] = answer
        self._bytes[answer.tenant] += answer.bytes

    def forget(self, tenant: str, digest: str = "") -> None:
        """Drop the answers about an image of a tenant, or all of its answers; also those that are coming."""
        keys = [k for k, entry in self._entries.items() if _concerns(entry, tenant, digest)]
        for key in keys:
            self._drop(key)
        for coming in self._coming:
            coming.void = coming.void or _concerns(coming, tenant, digest)

    def _evict(self, key: bytes) -> None:
        self._drop(key)
        self.evictions += 1

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes[entry.tenant] -= entry.bytes
            if not self._bytes[entry.tenant]:
                del self._bytes[entry.tenant]


def _concerns(entry: KeptAnswer | _Coming, tenant: str, digest: str) -> bool:
    return entry.tenant == tenant and (not digest or digest in entry.digests)


class ExactTier(Tier):
    """Answers from the cache, and keeps the answers of the tiers that follow."""

    def __init__(
        self,
        name: str,
        settings: ExactSettings = ExactSettings(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.cache = AnswerCache(settings, clock)

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        key = request_key(request) if request.sampling.is_greedy else None
        kept = await self._find(key, request, encoders, deadline) if key else None
        if kept is not None:
            used.hops.append(Hop(self.name, f"answered before by {kept.tier}"))
            for event in _repeated(kept, request, used):
                yield event
            return
        used.hops.append(Hop(self.name, "not answered before" if key else "temperature above 0"))
        answer = following(request, encoders, deadline, used)
        async with aclosing(self._recorded(key, request, used, answer) if key else answer) as events:
            async for event in events:
                yield event

    async def _find(
        self, key: bytes, request: ChatRequest, encoders: Fleet, deadline: Deadline
    ) -> KeptAnswer | None:
        """The answer, if all images that the request names by id are still stored."""
        if self.cache.holds(key):
            named = {image.digest for image in request.images if image.data is None}
            try:
                await gather_or_cancel([encoders.describe(digest, deadline) for digest in named])
            except FoveaError:  # the tiers that follow report it, with the image's path
                self.cache.misses += 1
                return None
        return self.cache.find(key)

    async def _recorded(
        self, key: bytes, request: ChatRequest, used: RequestUsage, answer: AsyncGenerator[Event, None]
    ) -> AsyncGenerator[Event, None]:
        """The events of another tier; its answer is kept before its last event passes."""
        started, texts = None, list[Text]()
        digests = frozenset(image.digest for image in request.images).union(request.read_images)
        with self.cache.coming(request.tenant, digests) as coming:
            async with aclosing(answer) as events:
                async for event in events:
                    if isinstance(event, Started):
                        started = event
                    elif isinstance(event, Text):
                        texts.append(event)
                    elif started and not coming.void and not event.receipt.degraded:
                        kept = KeptAnswer(
                            request.tenant,
                            digests,
                            started,
                            joined(texts),
                            event,
                            used.tier,
                            self.cache.now(),
                        )
                        self.cache.keep(key, kept)
                    yield event

    def forget(self, tenant: str, digest: str = "") -> None:
        self.cache.forget(tenant, digest)

    @property
    def figures(self) -> Sequence[Figure]:
        cache = self.cache
        return (
            Figure("hits", "Requests answered from the cache of exact answers.", lambda: cache.hits),
            Figure("misses", "Requests at temperature 0 without an exact answer.", lambda: cache.misses),
            Figure("evictions", "Exact answers evicted for lack of space.", lambda: cache.evictions),
            Figure("used_bytes", "Bytes of exact answers, as estimated.", lambda: cache.used_bytes, False),
        )


def _repeated(kept: KeptAnswer, request: ChatRequest, used: RequestUsage) -> Iterator[Event]:
    """The events of a kept answer. Its receipt has no computed token; the naive figures are the first."""
    yield replace(kept.started, request_id=request.id)
    yield kept.text
    first = kept.finished.receipt
    totals = Totals(
        naive_visual_tokens=first.totals.naive_visual_tokens, naive_patches=first.totals.naive_patches
    )
    elapsed = used.elapsed_ms()
    receipt = Receipt(
        tuple(map(_not_read, first.images)),
        totals,
        Stages(ttft=elapsed, total=elapsed),
        price=replace(first.price, amount=0.0),
    )
    yield replace(kept.finished, receipt=receipt)


def _not_read(image: ImageReceipt) -> ImageReceipt:
    """The image of an answer that no model has read it for."""
    step = Step("exact", image.tokens, 0, "answered before")
    return replace(
        image,
        tokens=0,
        steps=(*image.steps, step),
        source=RowOrigin.NONE,
        encoder="",
        row_bytes=0,
        wire_bytes=0,
        rows_digest="",
    )
