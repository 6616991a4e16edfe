"""The Files API for images: an upload is stored by the encoders, and its id is that of its bytes."""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fovea.contract.errors import EncoderUnavailable, InvalidArgument
from fovea.contract.image import StoredImage
from gateway_svc import gateway
from gateway_svc.body import pieces
from gateway_svc.endpoint import Endpoint, route
from gateway_svc.errors import BodyInvalid, not_served
from gateway_svc.fields import wrong
from gateway_svc.images import digest_of, file_id_of

PURPOSES = ("vision", "user_data")
FIELD_BYTES = 1024
FIELDS = 8
RETRY_S = 5.0


def routes() -> list[BaseRoute]:
    return [
        Route("/v1/files", Endpoint(upload, read_form, "/v1/files"), methods=["POST"]),
        route("/v1/files", refuse_list),
        route("/v1/files/{file_id}", retrieve),
        route("/v1/files/{file_id}", delete, "DELETE"),
        route("/v1/files/{file_id}/content", refuse_content),
    ]


async def read_form(request: Request) -> FormData:
    """The form of an upload. Raises BodyInvalid for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise BodyInvalid("must be a form, with the header `content-type: multipart/form-data`")
    parser = MultiPartParser(
        request.headers, pieces(request), max_files=1, max_fields=FIELDS, max_part_size=FIELD_BYTES
    )
    try:
        return await parser.parse()
    except MultiPartException:
        raise BodyInvalid("is no form with one file and few short fields") from None


async def upload(request: Request, form: FormData) -> Response:
    """Stores an image. The same bytes have the same id, whoever sends them."""
    try:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise wrong("file", "is required, as a file")
        if purpose not in PURPOSES:
            raise not_served("purpose", f"must be {' or '.join(PURPOSES)}: only images are stored")
        names = [name for name, _ in form.multi_items()]
        if others := [name for name in names if name not in ("file", "purpose")]:
            raise not_served(
                others[0][:80], "the gateway does not know it; uploads expire as the encoder is set"
            )
        if len(names) > 2:
            raise BodyInvalid("has a field twice")
        data = await file.read()
        name = file.filename or ""
    finally:
        await form.close()
    stored = await gateway.of(request).calling(request).put(data)
    return JSONResponse(_file(stored, name, str(purpose), int(time.time())))


async def retrieve(request: Request) -> Response:
    """Neither the name nor the time of an upload is kept: `created_at` is 0."""
    stored = await gateway.of(request).calling(request).describe(_digest(request))
    return JSONResponse(_file(stored, "", PURPOSES[0]))


async def delete(request: Request) -> Response:
    """Deletes the image and its rows on every encoder. Raises EncoderUnavailable until all have confirmed."""
    deletion = await gateway.of(request).calling(request).delete(_digest(request))
    if missing := [each.encoder for each in deletion.encoders if each.deleted is None]:
        text = f"{len(missing)} of {len(deletion.encoders)} encoders did not confirm: repeat until all do"
        raise EncoderUnavailable(text, retry_after_s=RETRY_S)
    return JSONResponse({"id": request.path_params["file_id"], "object": "file", "deleted": True})


async def refuse_list(request: Request) -> Response:
    raise not_served("list", "images are found by the id of their bytes; the encoders keep no list")


async def refuse_content(request: Request) -> Response:
    raise not_served("content", "stored bytes are not handed out")


def _digest(request: Request) -> str:
    digest = digest_of(request.path_params["file_id"])
    if digest is None:
        raise InvalidArgument.of_field(
            "file_id", "must be file- or sha256: and 64 lower-case hexadecimal digits"
        )
    return digest


def _file(stored: StoredImage, name: str, purpose: str, created: int = 0) -> dict[str, Any]:
    facts = stored.facts
    return {
        "id": file_id_of(facts.digest),
        "object": "file",
        "bytes": facts.byte_size,
        "created_at": created,
        "expires_at": int(stored.expires),
        "filename": name or f"{facts.digest[7:19]}.{facts.format.lower()}",
        "purpose": purpose,
        "status": "processed",
        "fovea": {"digest": facts.digest, "width": facts.width, "height": facts.height, "kind": facts.kind},
    }
