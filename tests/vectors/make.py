"""Writes the vectors that every client must pass: `python -m tests.vectors.make` (`--check` compares only).

The figures come from the code that the services run, so the files say what the contract means in numbers. The
Python tests beside them, `clients/go` and `clients/java` read the same files.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import xxhash
from google.protobuf.message import Message

from fovea.client.affinity import key_of
from fovea.contract.errors import AspectTooExtreme, FoveaError, SizeInvalid, Violation
from fovea.contract.rows import digest
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.geometry import DEFAULT_MAX_PIXELS, MAX_ASPECT, Geometry
from fovea.rendezvous import bounded_owner, ranked
from fovea.server import status
from fovea.vision.v1 import errors_pb2, image_pb2, rows_pb2

FOLDER = Path(__file__).parent
SEED = 20261126
SIZES = 200
ROWS, WIDTH, LEVELS = 40, 32, 3  # rows of 256 bytes in bf16
BOUNDED = 60
GRID = (192, 160)  # heights of a picture of 48 rows, some of which are dropped, and of one of 40
KEPT = (*range(4, 20), *range(22, 46))
CUTS = (0, 13, 14, 31, 40)  # where the chunks begin and end


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ids() -> dict[str, Any]:
    rng = random.Random(SEED)
    blobs = [b"", b"a", b"fovea", bytes(range(256)), rng.randbytes(1000)]
    return {"ids": [{"bytes": b64(blob), "id": digest(blob)} for blob in blobs]}


def sizes(rng: random.Random) -> list[tuple[int, int]]:
    """Corners that clients get wrong (halves of a cell, extremes of aspect), then any size up to 25 MP."""
    fixed = [
        (1, 1), (1, 200), (200, 1), (16, 16), (31, 33), (32, 32), (48, 48), (80, 80), (112, 16), (16, 3200),
        (256, 256), (255, 257), (768, 768), (1024, 1024), (1600, 1200), (1920, 1080), (2480, 3508),
        (4000, 3000), (5000, 5000), (20000, 100), (1296, 1008), (1264, 1040), (1145, 1145),
    ]  # fmt: skip
    drawn = [(rng.randint(1, 5000), rng.randint(1, 5000)) for _ in range(4 * SIZES)]
    allowed = [size for size in drawn if max(size) / min(size) <= MAX_ASPECT]
    return [*fixed, *allowed][:SIZES]


def geometry() -> dict[str, Any]:
    rng, rule = random.Random(SEED), Geometry()
    cases = []
    for width, height in sizes(rng):
        limits = (None, DEFAULT_MAX_PIXELS, rng.choice((1, 65_536, 262_144, 600_000, 4_000_000)))
        for max_pixels in limits:
            plan = rule.plan(width, height, max_pixels)
            cases.append(
                {
                    "width": width,
                    "height": height,
                    "max_pixels": max_pixels,
                    "planned": [plan.width, plan.height],
                    "grid_thw": list(plan.grid_thw),
                    "patches": plan.patches,
                    "tokens": plan.tokens,
                }
            )
    return {
        "geometry": {
            "patch": rule.patch,
            "merge": rule.merge,
            "min_pixels": rule.min_pixels,
            "max_pixels": rule.max_pixels,
            "default_max_pixels": DEFAULT_MAX_PIXELS,
            "max_aspect": MAX_ASPECT,
        },
        "cases": cases,
        "bounded": [bounded(rule, rng, *size) for size in sizes(rng)[:BOUNDED]],
        "refused": [refused(rule, *size) for size in ((0, 10), (10, 0), (1, 201), (4020, 20))],
    }


def bounded(rule: Geometry, rng: random.Random, width: int, height: int) -> dict[str, Any]:
    """The max_pixels of some bounds of pixels and sides, and the largest that costs at most some tokens."""
    pixels = rng.choice((None, DEFAULT_MAX_PIXELS, 1, 600_000))
    short, long = rng.choice((0, 256, 768, 1001)), rng.choice((0, 768, 2048, 3333))
    tokens = rng.choice((1, 64, 255, 576, 1280, 20_000))
    return {
        "width": width,
        "height": height,
        "max_pixels": pixels,
        "max_short_side": short,
        "max_long_side": long,
        "limit": rule.limit(width, height, pixels, short, long),
        "tokens": tokens,
        "largest_fitting": rule.largest_fitting(width, height, tokens),
    }


def refused(rule: Geometry, width: int, height: int) -> dict[str, Any]:
    try:
        rule.plan(width, height)
    except (SizeInvalid, AspectTooExtreme) as error:
        return {"width": width, "height": height, "reason": error.reason}
    raise AssertionError((width, height))


def header(kept: Sequence[int] = ()) -> encoder_pb2.EncodeResponse:
    layout = rows_pb2.RowLayout(
        version=1,
        width=WIDTH,
        levels=LEVELS,
        dtype=rows_pb2.ROW_DTYPE_BF16,
        row_bytes=2 * WIDTH * (1 + LEVELS),
    )
    height = GRID[0] if kept else GRID[1]
    size = image_pb2.Size(width=256, height=height)
    count = image_pb2.TokenCount(
        original=size,
        planned=size,
        grid=image_pb2.GridThw(t=1, h=height // 16, w=16),
        patches=height,
        tokens=height // 4,
        row_bytes=height // 4 * layout.row_bytes,
    )
    event = encoder_pb2.EncodeHeader(
        layout=layout,
        rows=ROWS,
        count=count,
        source=rows_pb2.ROW_SOURCE_ROWS,
        fingerprint="sha256:" + "0" * 64,
        encoder="vector",
        kept=kept,
    )
    return encoder_pb2.EncodeResponse(header=event)


def chunk(data: bytes, first: int, end: int) -> encoder_pb2.EncodeResponse:
    row_bytes = len(data) // ROWS
    part = data[first * row_bytes : end * row_bytes]
    event = rows_pb2.RowChunk(
        first_row=first, rows=end - first, data=part, xxh3=xxhash.xxh3_64_intdigest(part)
    )
    return encoder_pb2.EncodeResponse(chunk=event)


def summary(data: bytes) -> encoder_pb2.EncodeResponse:
    event = encoder_pb2.EncodeSummary(rows=ROWS, row_bytes=len(data), rows_digest=digest(data))
    return encoder_pb2.EncodeResponse(summary=event)


def rows() -> dict[str, Any]:
    """A valid stream, and streams that a client must refuse as ROWS_MISMATCH."""
    values = np.random.default_rng(SEED).integers(0, 256, ROWS * WIDTH * (1 + LEVELS) * 2, np.uint8)
    data = values.tobytes()
    rest = [*(chunk(data, a, b) for a, b in itertools.pairwise(CUTS)), summary(data)]
    good = [header(), *rest]
    flipped, forged = chunk(data, 13, 14), summary(data[::-1])
    flipped.chunk.data = bytes([flipped.chunk.data[0] ^ 1]) + flipped.chunk.data[1:]
    cut = chunk(data, 13, 14)
    cut.chunk.data = cut.chunk.data[:-1]
    cut.chunk.xxh3 = xxhash.xxh3_64_intdigest(cut.chunk.data)
    bad = {
        "a byte was flipped": [*good[:2], flipped, *good[3:]],
        "a chunk is missing": [*good[:2], *good[3:]],
        "a chunk came twice": [*good[:3], *good[2:]],
        "chunks out of order": [good[0], good[2], good[1], *good[3:]],
        "a row was cut": [*good[:2], cut, *good[3:]],
        "the last chunk is missing": [*good[:4], good[5]],
        "no summary": good[:-1],
        "no header": good[1:],
        "another digest": [*good[:-1], forged],
        "places out of order": [header((*KEPT[1:], KEPT[0])), *rest],
        "a place that is not on the grid": [header((*KEPT[:-1], 48)), *rest],
        "fewer places than rows": [header(KEPT[1:]), *rest],
    }
    return {
        "rows": ROWS,
        "width": WIDTH,
        "levels": LEVELS,
        "dtype": "bf16",
        "row_bytes": len(data) // ROWS,
        "data": b64(data),
        "rows_digest": digest(data),
        "stream": wire(good),
        "kept": {"places": list(KEPT), "stream": wire([header(KEPT), *rest])},
        "refused": [{"why": why, "stream": wire(stream)} for why, stream in bad.items()],
    }


def wire(messages: list[Any]) -> list[str]:
    """Serialised EncodeResponse messages."""
    return [b64(serialised(message)) for message in messages]


def serialised(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def errors() -> dict[str, Any]:
    """The status details of a failure for every reason of the contract, as `grpc-status-details-bin`."""
    names = [name for name, number in errors_pb2.ErrorReason.items() if number]
    reasons = [name.removeprefix("ERROR_REASON_") for name in names]
    return {"errors": [failure(reason, place) for place, reason in enumerate(reasons)]}


def failure(reason: str, place: int) -> dict[str, Any]:
    code = _CODES.get(reason, grpc.StatusCode.INVALID_ARGUMENT)
    kind = type("Failure", (FoveaError,), {"code": code, "reason": reason})
    retry = 0.5 + place / 8 if code in _RETRIED and reason not in _FINAL else None
    error = kind(
        f"{reason.lower()}: the limit is {place} and the value {place + 1}",
        violations=[Violation("messages[0].parts[1]", f"violates {reason}")] if place % 3 == 1 else (),
        retry_after_s=retry,
        limit=place,
        actual=place + 1,
    )
    written = status.of(error, f"request-{place}")
    return {
        "reason": reason,
        "code": code.name,
        "message": error.message,
        "metadata": dict(error.metadata),
        "violations": [{"field": v.field, "description": v.description} for v in error.violations],
        "retry_after_ms": None if retry is None else retry * 1000,
        "request_id": f"request-{place}",
        "status": b64(serialised(written)),
    }


_CODES = {
    "TOKEN_MISSING": grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_UNKNOWN": grpc.StatusCode.UNAUTHENTICATED,
    "ROLE_NOT_ALLOWED": grpc.StatusCode.PERMISSION_DENIED,
    "TENANT_NOT_ALLOWED": grpc.StatusCode.PERMISSION_DENIED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
    "NOT_SERVED": grpc.StatusCode.UNIMPLEMENTED,
    "IMAGE_NOT_STORED": grpc.StatusCode.NOT_FOUND,
    "TIER_DID_NOT_ANSWER": grpc.StatusCode.FAILED_PRECONDITION,
    "TIER_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "TEXT_READER_MISSING": grpc.StatusCode.FAILED_PRECONDITION,
    "TEXT_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ENCODER_BUSY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ENGINE_BUSY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ENCODER_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "ENCODER_MISMATCH": grpc.StatusCode.FAILED_PRECONDITION,
    "ROWS_MISMATCH": grpc.StatusCode.DATA_LOSS,
    "CHECKPOINT_NOT_SUPPORTED": grpc.StatusCode.FAILED_PRECONDITION,
    "NOT_READY": grpc.StatusCode.UNAVAILABLE,
    "ENGINE_FAILED": grpc.StatusCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": grpc.StatusCode.DEADLINE_EXCEEDED,
    "ABORTED": grpc.StatusCode.CANCELLED,
    "STORE_IN_USE": grpc.StatusCode.FAILED_PRECONDITION,
    "ENGINE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "STORE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STORE_FAILED": grpc.StatusCode.UNAVAILABLE,
    "STORE_CLOSED": grpc.StatusCode.UNAVAILABLE,
    "STORE_FORKED": grpc.StatusCode.INTERNAL,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "MESSAGE_TOO_LARGE": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "UNKNOWN": grpc.StatusCode.UNKNOWN,
    "ANSWER_INCOMPLETE": grpc.StatusCode.INTERNAL,
    "SERVICE_DIED": grpc.StatusCode.UNAVAILABLE,
    "ARENA_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ROWS_NOT_FINITE": grpc.StatusCode.DATA_LOSS,
    "ANSWER_NOT_FINITE": grpc.StatusCode.INTERNAL,
    "ENGINE_OUT_OF_MEMORY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CALL_IDLE": grpc.StatusCode.ABORTED,
    "SERVER_BUSY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TENANT_BUSY": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_STREAMS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "LEDGER_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "LEDGER_DISABLED": grpc.StatusCode.FAILED_PRECONDITION,
    "QUOTA_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "QUOTE_EXCEEDED": grpc.StatusCode.FAILED_PRECONDITION,
}
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FINAL = (
    "ENGINE_FAILED", "STORE_FULL", "MESSAGE_TOO_LARGE", "SERVICE_DIED", "ARENA_FULL", "ENGINE_OUT_OF_MEMORY",
)  # fmt: skip


def decoders() -> dict[str, Any]:
    """Which decoder a client chooses: the key of a request, the rank order of a key, and the bound on calls."""
    rng = random.Random(SEED)
    fleets = [
        ["127.0.0.1:50052", "127.0.0.1:50053"],
        ["10.0.0.1:50052", "10.0.0.2:50052", "10.0.0.3:50052"],
        [
            "decoder-a.example:50052",
            "decoder-b.example:50052",
            "[fd00::1]:50052",
            "[fd00::2]:50052",
            "localhost:1",
        ],
    ]
    keys = ["", "What is it?", "Größe? 大きさ 📷", *(digest(bytes([number])) for number in range(17))]
    orders = [
        {"key": key, "addresses": fleet, "ranked": ranked(key, fleet)} for key in keys for fleet in fleets
    ]
    choices = []
    for key in keys:
        for fleet in fleets:
            for most in (8, 24, 120):
                calls = {address: rng.randint(0, most) for address in fleet}
                choices.append({"key": key, "calls": calls, "chosen": bounded_owner(key, calls)})
    requests = [{"request": b64(serialised(each)), "key": key_of(each)} for each in conversations()]
    return {"orders": orders, "choices": choices, "requests": requests}


def conversations() -> list[decoder_pb2.GenerateRequest]:
    """Images by id, inline, by size and in a later turn; texts alone; nothing."""
    system, user, assistant = decoder_pb2.ROLE_SYSTEM, decoder_pb2.ROLE_USER, decoder_pb2.ROLE_ASSISTANT
    by_id = decoder_pb2.Image(digest=digest(b"stored"))
    inline = decoder_pb2.Image(data=b"inline")
    unseen = decoder_pb2.Image(size=image_pb2.Size(width=64, height=64))

    def turn(role: decoder_pb2.Role, *parts: str | decoder_pb2.Image) -> decoder_pb2.Message:
        made = [
            decoder_pb2.Part(text=part) if isinstance(part, str) else decoder_pb2.Part(image=part)
            for part in parts
        ]
        return decoder_pb2.Message(role=role, parts=made)

    conversations = [
        [turn(user, by_id, "What is it?")],
        [turn(user, inline, by_id, "What are they?")],
        [turn(user, unseen, by_id, "What are they?")],
        [turn(system, "Be brief."), turn(user, "Hello."), turn(assistant, "Hi."), turn(user, inline)],
        [turn(system, "Be brief."), turn(user, "What ", "is it?"), turn(assistant, "?"), turn(user, "That.")],
        [turn(user, unseen, "How large?")],
        [turn(user, "Größe? 大きさ 📷")],
        [turn(user, decoder_pb2.Image(data=b""))],
        [turn(system, "Be brief.")],
        [],
    ]
    return [decoder_pb2.GenerateRequest(messages=messages) for messages in conversations]


FILES = {"ids": ids, "geometry": geometry, "rows": rows, "errors": errors, "decoders": decoders}


def text_of(name: str) -> str:
    return json.dumps(FILES[name](), indent=1) + "\n"


def main() -> None:
    for name in FILES:
        path, text = FOLDER / f"{name}.json", text_of(name)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif path.read_text() != text:
            raise SystemExit(f"{path} is not what `python -m tests.vectors.make` writes")


if __name__ == "__main__":
    main()
