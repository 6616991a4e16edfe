"""Pairs of a secret that a tenant holds and of a secret that nobody holds, and what a caller sees of both."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from bench.fault_cases.observed import Observations, Value
from bench.parts.photo import photo
from fovea.decoder.v1 import decoder_pb2 as pb
from fovea.decoder.v1 import decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc

SIDE = 160
WORDS = "red blue green dark light round long near wide old new cold warm deep thin soft"
CONTENT = re.compile(
    r"facts\.|digest|quote\.token|text$|token_ids|finish_reason|matched_stop|output_tokens|request_id|request-id|amount"
    r"|alternatives"
)
"""Follows from the pixels, the answer or the call: the members of a pair differ whoever holds them."""
TIMES = re.compile(r"ms$|stages_ms|expire_time")
HITS = re.compile(r"already_stored|cached_prompt_tokens")
SOURCE = "generate.finished.receipt.images.0.source"

Seen = dict[str, Value]
"""Values by the name of what shows them."""


@dataclass(frozen=True)
class Secret:
    """What a tenant may hold: an image, a text, a response format."""

    image: bytes
    text: str
    options: tuple[str, ...]

    @classmethod
    def draw(cls, number: int, seed: int) -> Secret:
        dice = random.Random(f"{seed} {number}")
        words = WORDS.split()
        # Another first word for each member of a pair, and always the same count of tokens.
        first = words.pop(number % len(words))
        texts = [" ".join(["the", first, *dice.sample(words, len(words))]) for _ in range(4)]
        return cls(photo(10**9 + 10**6 * seed + number, SIDE), " ".join(texts[:2]), tuple(texts[2:]))

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.image).hexdigest()}"


@dataclass(frozen=True)
class Pair:
    """What a caller saw of a secret that tenant A holds, and of a secret that nobody holds."""

    held: Seen
    fresh: Seen

    def differing(self) -> list[str]:
        """The names whose values tell the members apart, but for content and times."""
        names = {
            name for name in self.held | self.fresh if not CONTENT.search(name) and not TIMES.search(name)
        }
        return [name for name in names if self.held.get(name) != self.fresh.get(name)]

    def hits(self) -> int:
        """Signs that the services had the held secret already."""
        found = [name for name, value in self.held.items() if HITS.search(name) and value]
        return len(found) + (self.held.get(SOURCE) != "ROW_SOURCE_ENCODED")

    def reads(self) -> int:
        """Calls by id that were answered before the caller had uploaded the image."""
        return sum(value == "OK" for name, value in self.held.items() if name.endswith("by id code"))


class Callers:
    """Makes all calls about a secret, with the token of a tenant."""

    def __init__(self, encoder: str, decoder: str) -> None:
        self._encoder = encoder_pb2_grpc.EncoderServiceStub(grpc.insecure_channel(encoder))
        self._decoder = decoder_pb2_grpc.DecoderServiceStub(grpc.insecure_channel(decoder))

    def observe(self, token: str, secret: Secret) -> Seen:
        seen, digest = Observations(token, {secret.digest: "IMAGE"}), secret.digest
        encoder, decoder, by_id = self._encoder, self._decoder, pb.DescribeImageRequest(digest=digest)
        image, reduced = _question("?", digest), _question("?", digest, keep=0.5)
        before = self._encodes(seen)
        seen.call("describe by id", decoder.DescribeImage, by_id)
        theirs = encoder_pb2.DescribeImageRequest(digest=digest)
        seen.call("encoder describe by id", encoder.DescribeImage, theirs)
        seen.call("count by id", decoder.CountTokens, pb.CountTokensRequest(request=reduced))
        seen.call("generate by id", decoder.Generate, image)
        header = pb.PutImageHeader(digest=digest)
        seen.call("put", decoder.PutImage, iter([pb.PutImageRequest(header=header, data=secret.image)]))
        seen.call("describe", decoder.DescribeImage, by_id)
        seen.call("count", decoder.CountTokens, pb.CountTokensRequest(request=reduced))
        seen.call("generate", decoder.Generate, image)
        seen.call("place", decoder.Generate, reduced)  # asks the encoder which rows it keeps
        seen.call("text", decoder.Generate, _question(secret.text))
        seen.call("format", decoder.Generate, _question("?", options=secret.options))
        seen.call("info", decoder.GetServerInfo, pb.GetServerInfoRequest())
        seen.values["encodes"] = self._encodes(seen) - before
        return seen.values

    def _encodes(self, seen: Observations) -> float:
        """The count that the caller may see grows with its own calls."""
        seen.call("encoder info", self._encoder.GetServerInfo, encoder_pb2.GetServerInfoRequest())
        return float(seen.values.pop("encoder info.load.encodes", 0.0))

    def delete(self, token: str, secret: Secret) -> Seen:
        seen = Observations(token, {secret.digest: "IMAGE"})
        seen.call("delete", self._decoder.DeleteImage, pb.DeleteImageRequest(digest=secret.digest))
        return seen.values

    def purge(self, token: str, tenant: str) -> None:
        """So that the tenant's own earlier calls are no hits."""
        Observations(token, {}).call("", self._decoder.PurgeTenant, pb.PurgeTenantRequest(tenant=tenant))

    def holds(self, token: str, secret: Secret) -> bool:
        request = pb.DescribeImageRequest(digest=secret.digest)
        return Observations(token, {}).call("", self._decoder.DescribeImage, request) is not None


def _question(
    text: str, digest: str = "", keep: float | None = None, options: Sequence[str] = ()
) -> pb.GenerateRequest:
    parts = [pb.Part(image=pb.Image(digest=digest))] if digest else []
    message = pb.Message(role=pb.ROLE_USER, parts=[*parts, pb.Part(text=text)])
    request = pb.GenerateRequest(messages=[message], sampling=pb.Sampling(max_new_tokens=2))
    if keep is not None:
        request.visual.reduction.keep = keep
    if options:
        request.response_format.choice.options.extend(options)
    return request
