"""Fake services, subclasses of the generated bases: they record requests and run no model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import xxhash
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image as Pillow

from fovea.contract.count import token_count_to_proto
from fovea.contract.errors import FoveaError
from fovea.contract.image import ImageFacts, facts_to_proto
from fovea.contract.receipt import (
    ImageReceipt,
    Price,
    Receipt,
    Stages,
    Step,
    Tier,
    Totals,
    receipt_to_proto,
    steps_to_proto,
)
from fovea.contract.rows import RowDtype, RowLayout, chunks, digest, layout_to_proto
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry
from fovea.planning.counting import count_tokens
from fovea.server import status
from fovea.vision.v1 import image_pb2, rows_pb2

REQUEST_ID = "request-1"
LAYOUT = RowLayout(width=8, levels=3, dtype=RowDtype.BF16)
LIMITS = {
    "max_context": 8192,
    "max_new_tokens": 512,
    "default_max_new_tokens": 256,
    "default_max_pixels": DEFAULT_MAX_PIXELS,
    "max_pixels": 16_777_216,
    "min_pixels": 4096,
}


STEPS = (Step("resize", 90, 80, "max_pixels"),)


class ImageNotStored(FoveaError):
    code = grpc.StatusCode.NOT_FOUND
    reason = "IMAGE_NOT_STORED"


class NotReady(FoveaError):
    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"


def refuse(context: grpc.ServicerContext, error: FoveaError) -> None:
    """Abort like the real services."""
    answer = status.of(error, REQUEST_ID)
    context.set_trailing_metadata(status.trailing(error, answer))
    context.abort(error.code, answer.message)


def facts_of(data: bytes) -> ImageFacts:
    return ImageFacts(digest(data), "p" * 64, "PNG", len(data), 320, 240, 1, False)


def deletions() -> list[decoder_pb2.EncoderDeletion]:
    """Two encoders, of which only the first confirms."""
    erasure = image_pb2.ERASURE_AFTER_COMPACTION
    confirmed = decoder_pb2.EncoderDeletion(
        encoder="a:1", confirmed=True, uploads=1, records=2, bytes=4096, erasure=erasure
    )
    return [confirmed, decoder_pb2.EncoderDeletion(encoder="b:1", reason="ENCODER_UNAVAILABLE")]


class FakeDecoder(decoder_pb2_grpc.DecoderServiceServicer):
    """Answers every question with `answer`, word by word."""

    def DeleteImage(self, request, context):
        self.deleted.append(request.digest)
        return decoder_pb2.DeleteImageResponse(encoders=deletions())

    def PurgeTenant(self, request, context):
        self.deleted.append(request.tenant)
        return decoder_pb2.PurgeTenantResponse(encoders=deletions())

    def __init__(self, answer: str = "forty two") -> None:
        self.answer = answer
        self.stored: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.encoded: set[str] = set()
        self.forgets = 0
        """How many Generate calls find that all images have gone."""
        self.failure: FoveaError | None = None
        self.drops = 0
        """How many Generate calls end as gRPC ends them when a server begins to drain."""
        self.refuses: FoveaError | None = None
        """What every upload fails with."""
        self.garbles = False
        """A status whose details are no message."""
        self.silent = False
        """A stream that ends at once and well."""
        self.hang = False
        """A stream that never ends."""
        self.breaks = False
        """A stream whose server gives up in the middle."""
        self.loses = False
        """A stream that ends in the middle as if its connection was lost."""
        self.ended = threading.Event()
        """Set when a Generate call has ended, however it did."""
        self.expires = 4_000_000_000
        """Until when every image is kept, in seconds since the epoch."""
        self.unready = 0
        """How many calls are refused as NOT_READY, once all of their request has come."""
        self.pushback_s = 0.01
        self.naive = 80
        """The visual tokens that a server that plans nothing would have spent."""
        self.price = Price()
        self.degraded = False
        self.tiers: list[dict[str, Any]] = []
        """What GetServerInfo lists."""
        self.notice = ""
        self.matched_stop = ""
        self.calls: list[str] = []
        """The name of each call, in order. A retried call occurs again."""
        self.requests: list[decoder_pb2.GenerateRequest] = []
        self.metadata: dict[str, str] = {}
        self.put_messages = 0
        self.put_sizes: list[int] = []

    def DescribeImage(self, request, context):
        self._note("DescribeImage", context)
        if request.digest not in self.stored:
            refuse(context, ImageNotStored(f"image {request.digest} is not stored", image=request.digest))
        held = self._put_response(self.stored[request.digest], already=True)
        return decoder_pb2.DescribeImageResponse(
            facts=held.facts, expire_time=held.expire_time, encoder=held.encoder
        )

    def PutImage(self, requests, context):
        self._note("PutImage", context)
        data, announced = b"", ""
        for request in requests:
            self.put_messages += 1
            announced = announced or request.header.digest
            if announced in self.stored:
                return self._put_response(self.stored[announced], already=True)
            data += request.data
            self.put_sizes.append(len(request.data))
        if not context.is_active():  # the messages of a cancelled call end like any others
            return decoder_pb2.PutImageResponse()
        self._refuse_while_unready(context)
        if self.refuses is not None:
            refuse(context, self.refuses)
        assert announced == digest(data)
        self.stored[announced] = data
        return self._put_response(data, already=False)

    def Generate(self, request, context):
        self._note("Generate", context)
        self.requests.append(request)
        self._refuse_while_unready(context)
        context.add_callback(self.ended.set)
        digests = [part.image.digest for m in request.messages for part in m.parts if part.HasField("image")]
        if self.drops:
            self.drops -= 1
            context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        if self.garbles:
            context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "garbled")
        if self.failure is not None:
            refuse(context, self.failure)
        if self.forgets:
            self.forgets -= 1
            self.stored.clear()
        for item in digests:
            if item not in self.stored:
                refuse(context, ImageNotStored(f"image {item} is not stored", image=item))
        if self.silent:
            return
        started = decoder_pb2.Started(
            request_id=request.request_id or REQUEST_ID, model="fake", prompt_tokens=90, visual_tokens=80
        )
        yield decoder_pb2.GenerateResponse(started=started)
        for place, word in enumerate(self.answer.split(" ") if self.answer else []):
            text = word if place == 0 else f" {word}"
            delta = decoder_pb2.Delta(text=text, token_ids=[place])
            if request.HasField("logprobs"):
                delta.logprobs.append(-0.5 - place)
                delta.token_bytes.append(text.encode())
                likely = [
                    decoder_pb2.TokenLogprob(token_id=each, logprob=-0.5 - each, token=b"%d" % each)
                    for each in range(request.logprobs.top)
                ]
                if likely:
                    delta.top_logprobs.add(tokens=likely)
            yield decoder_pb2.GenerateResponse(delta=delta)
        if self.breaks:
            refuse(context, NotReady("going down"))
        if self.loses:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if self.hang:
            self.ended.wait(30)
            return
        yield decoder_pb2.GenerateResponse(finished=self._finished(digests))

    def CountTokens(self, request, context):
        self._note("CountTokens", context)
        self.requests.append(request.request)
        images = [part for m in request.request.messages for part in m.parts if part.HasField("image")]
        count = token_count_to_proto(
            count_tokens((330, 250), Geometry().plan(330, 250, DEFAULT_MAX_PIXELS), LAYOUT.row_bytes)
        )
        plan = decoder_pb2.ImagePlan(tokens=80, tokens_min=40, steps=steps_to_proto(STEPS))
        high = decoder_pb2.VisualBudget(detail=decoder_pb2.DETAIL_HIGH)
        high.reduction.flat_tolerance = 0
        other = decoder_pb2.Alternative(
            name="detail high",
            visual=high,
            visual_tokens=160,
            visual_tokens_min=160,
            exact=True,
            kv_bytes=170 << 20,
            prefill_flops=4e9,
        )
        return decoder_pb2.CountTokensResponse(
            prompt_tokens=90,
            text_tokens=10,
            visual_tokens=80,
            images=[count] * len(images),
            kv_bytes=90 * 98_304,
            fits_context=True,
            visual_tokens_min=40,
            row_bytes=5120,
            prefill_flops=2e9,
            prefill_ms=3.0,
            plans=[plan] * len(images),
            alternatives=[other],
        )

    def GetServerInfo(self, request, context):
        return decoder_pb2.GetServerInfoResponse(
            version="0.1.0",
            model="fake",
            state=decoder_pb2.SERVING_STATE_SERVING,
            loading_progress=1.0,
            layout=layout_to_proto(LAYOUT),
            limits=decoder_pb2.DecoderLimits(**LIMITS),
            features=["generate"],
            encoders=[decoder_pb2.EncoderPeer(address="127.0.0.1:1", reachable=False)],
            tiers=[decoder_pb2.TierInfo(**tier) for tier in self.tiers],
            model_notice=self.notice,
        )

    def _note(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls.append(method)
        self.metadata = dict(context.invocation_metadata())

    def _refuse_while_unready(self, context: grpc.ServicerContext) -> None:
        if self.unready:
            self.unready -= 1
            refuse(context, NotReady("the model is still loading", retry_after_s=self.pushback_s))

    def _put_response(self, data: bytes, already: bool) -> decoder_pb2.PutImageResponse:
        response = decoder_pb2.PutImageResponse(
            facts=facts_to_proto(facts_of(data)), already_stored=already, encoder="encoder-0"
        )
        response.expire_time.FromSeconds(self.expires)
        return response

    def _finished(self, digests: list[str]) -> decoder_pb2.Finished:
        images = tuple(self._image(item) for item in digests)
        encodes = sum(image.source == "encoded" for image in images)
        self.encoded.update(digests)
        receipt = Receipt(
            images,
            Totals(80, self.naive, 10, 0, 2, encodes, 100, patches=320, naive_patches=4 * self.naive),
            Stages(0.1, 2.0, 0.5, 3.0, 6.0, 4.0, 10.0),
            Tier(("fake",), "only tier"),
            self.price,
            self.degraded,
        )
        return decoder_pb2.Finished(
            finish_reason=decoder_pb2.FINISH_REASON_STOP,
            matched_stop=self.matched_stop,
            receipt=receipt_to_proto(receipt),
        )

    def _image(self, item: str) -> ImageReceipt:
        source = "rows" if item in self.encoded else "encoded"
        sizes = ((330, 250), (320, 256), (1, 16, 20))
        return ImageReceipt(
            item, *sizes, 320, 90, 80, STEPS, source, "encoder-0", "bf16", row_bytes=5120, wire_bytes=100
        )


class FakeEncoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Serves the same rows for every image; `tamper` may modify each message of an Encode stream."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.asked: list[encoder_pb2.PlaceRowsRequest] = []
        """The requests of PlaceRows."""
        self.data = bytes(index % 251 for index in range(20_000 * LAYOUT.row_bytes))
        self.tamper = lambda message: message

    def PutImage(self, requests, context):
        data = b"".join(request.data for request in requests)
        return encoder_pb2.PutImageResponse(facts=facts_to_proto(facts_of(data)))

    def PlaceRows(self, request, context):
        """The first 16 of 80 cells are flat; importance increases with the index of the others."""
        self.asked.append(request)
        order = range(79, 15, -1)
        kept = sorted(order[:32]) if request.encode.plan.HasField("rows") else sorted(order)
        header = encoder_pb2.EncodeHeader(
            rows=len(kept),
            count=token_count_to_proto(
                count_tokens((330, 250), Geometry().plan(330, 250, DEFAULT_MAX_PIXELS), LAYOUT.row_bytes)
            ),
            source=rows_pb2.ROW_SOURCE_ENCODED,
            encoder="encoder-0",
            kept=kept,
        )
        return encoder_pb2.PlaceRowsResponse(known=True, header=header, order=order if request.order else ())

    def Encode(self, request, context):
        for message in self._stream(request):
            changed = self.tamper(message)
            if changed is not None:
                yield changed

    def _stream(self, request) -> Iterator[encoder_pb2.EncodeResponse]:
        rows = len(self.data) // LAYOUT.row_bytes
        header = encoder_pb2.EncodeHeader(
            layout=layout_to_proto(LAYOUT),
            rows=rows,
            count=token_count_to_proto(
                count_tokens((320, 240), Geometry().plan(320, 240, DEFAULT_MAX_PIXELS), LAYOUT.row_bytes)
            ),
            source=rows_pb2.ROW_SOURCE_ROWS,
            fingerprint="sha256:f",
            encoder="encoder-0",
        )
        header.count.tokens = rows  # no image has as many; several chunks do
        yield encoder_pb2.EncodeResponse(header=header)
        for first, data in chunks(memoryview(self.data), LAYOUT):
            chunk = rows_pb2.RowChunk(
                first_row=first,
                rows=len(data) // LAYOUT.row_bytes,
                data=bytes(data),
                xxh3=xxhash.xxh3_64_intdigest(data),
            )
            yield encoder_pb2.EncodeResponse(chunk=chunk)
        hashed = f"sha256:{hashlib.sha256(self.data).hexdigest()}"
        summary = encoder_pb2.EncodeSummary(rows=rows, row_bytes=len(self.data), rows_digest=hashed)
        summary.timings.tower_ms = 2.5
        yield encoder_pb2.EncodeResponse(summary=summary)

    def DescribeImage(self, request, context):
        refuse(context, ImageNotStored(f"image {request.digest} is not stored", image=request.digest))

    def CountTokens(self, request, context):
        max_pixels = request.max_pixels if request.HasField("max_pixels") else DEFAULT_MAX_PIXELS
        count = token_count_to_proto(
            count_tokens(
                (request.width, request.height),
                Geometry().plan(request.width, request.height, max_pixels),
                64,
            )
        )
        return encoder_pb2.CountTokensResponse(count=count)

    def GetServerInfo(self, request, context):
        return encoder_pb2.GetServerInfoResponse(
            version="0.1.0",
            name="encoder-0",
            model="fake",
            state=encoder_pb2.SERVING_STATE_LOADING,
            loading_progress=0.5,
            device="cpu",
            limits=encoder_pb2.EncoderLimits(max_queue=256),
        )

    def DeleteImage(self, request, context):
        self.deleted.append(request.digest)
        erasure = image_pb2.ERASURE_ERASED
        return encoder_pb2.DeleteImageResponse(uploads=1, records=2, bytes=4096, erasure=erasure)

    def PurgeTenant(self, request, context):
        self.deleted.append(request.tenant)
        return encoder_pb2.PurgeTenantResponse(uploads=3, records=4, bytes=8192)

    def GetCacheStats(self, request, context):
        return encoder_pb2.GetCacheStatsResponse(
            records=3, record_bytes=3 << 20, record_capacity_bytes=4 << 30, hits=9, misses=3
        )


@contextmanager
def served(
    servicer: FakeDecoder | FakeEncoder,
    listen: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[str]:
    """The address of a server around the servicer, which reports ready."""
    server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.max_receive_message_length", 32 << 20),))
    if isinstance(servicer, FakeDecoder):
        decoder_pb2_grpc.add_DecoderServiceServicer_to_server(servicer, server)
    else:
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server(servicer, server)
    checks = health.HealthServicer()
    checks.set("readiness", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0)


def png(path, width: int = 330, height: int = 250):
    """A small image on disk, as a path string."""
    Pillow.new("RGB", (width, height), (200, 30, 30)).save(path)
    return str(path)
