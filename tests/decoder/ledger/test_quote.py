"""A quote is accepted for its tenant and request, by who shares the key, until it expires."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from decoder_svc.budget.tariff import Spend
from decoder_svc.convert import fingerprint
from decoder_svc.ledger.quote import QuoteSigner
from decoder_svc.receipt import RequestUsage
from fovea.access.files import CredentialFile
from fovea.contract.count import Quote
from fovea.contract.errors import CredentialsInvalid, QuoteExceeded, QuoteInvalid
from fovea.contract.rows import digest
from fovea.decoder.v1 import decoder_pb2

QUOTE = Quote(120, 0.1 + 0.2, "EUR")


def test_a_signed_quote_is_accepted_for_its_subject_only() -> None:
    signer = QuoteSigner(60)
    signed = signer.sign(QUOTE, "subject")
    assert signer.verify(signed.token, "subject") == Spend(120, 0.1 + 0.2)
    for wrong in ("another", "", "subject "):
        with pytest.raises(QuoteInvalid, match="not of this request"):
            signer.verify(signed.token, wrong)


def test_a_changed_quote_is_refused() -> None:
    signer = QuoteSigner(60)
    payload, code = signer.sign(QUOTE, "s").token.split(".")
    more = urlsafe_b64encode(urlsafe_b64decode(payload).replace(b"120", b"119")).decode()
    for token in (
        f"{more}.{code}",
        f"{payload}.{code[:-4]}",
        f"{payload}.",
        "",
        "x",
        "é.é",
        "a.b.c",
        "." * 2000,
    ):
        with pytest.raises(QuoteInvalid):
            signer.verify(token, "s")


def test_a_quote_expires() -> None:
    signer = QuoteSigner(-1)
    with pytest.raises(QuoteInvalid, match="expired"):
        signer.verify(signer.sign(QUOTE, "s").token, "s")


def test_decoders_with_a_common_key_accept_each_others_quotes(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path / "key", "--quote-key-file")
    file.path.write_bytes(b"k" * 32 + b"\n")
    signed = QuoteSigner(60, file).sign(QUOTE, "s")
    assert QuoteSigner(60, file).verify(signed.token, "s").tokens == 120
    with pytest.raises(QuoteInvalid):
        QuoteSigner(60).verify(signed.token, "s")
    file.path.write_bytes(b"short")
    with pytest.raises(CredentialsInvalid, match="5 bytes"):
        QuoteSigner(60, file)


def test_the_fingerprint_is_that_of_the_content() -> None:
    def of(tenant: str = "acme", data: bytes = b"", stored: str = "", **fields: str) -> str:
        image = decoder_pb2.Image(data=data) if data else decoder_pb2.Image(digest=stored)
        message = decoder_pb2.Message(parts=[decoder_pb2.Part(image=image), decoder_pb2.Part(text="?")])
        return fingerprint(decoder_pb2.GenerateRequest(messages=[message], **fields), tenant)

    same = of(data=b"image")
    assert of(stored=digest(b"image")) == same
    assert of(data=b"image", request_id="r", quote="q", idempotency_key="k") == same
    assert len({same, of(data=b"other"), of(data=b"image", tenant="b"), of(data=b"image", tier="small")}) == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"sampling": {"presence_penalty": 0.0}},
        {"sampling": {"presence_penalty": 1.5}},
        {"sampling": {"frequency_penalty": 1.5}},
        {"sampling": {"logit_bias": {7: 1.0}}},
        {"sampling": {"logit_bias": {7: 1.0, 8: 2.0}}},
        {"sampling": {"checkpoint_defaults": True}},
        {"logprobs": {"top": 2}},
    ],
)
def test_the_fingerprint_covers_how_tokens_are_sampled(changed: dict[str, Any]) -> None:
    same = fingerprint(decoder_pb2.GenerateRequest(sampling={}, logprobs={}), "acme")
    assert (
        fingerprint(decoder_pb2.GenerateRequest(**{"sampling": {}, "logprobs": {}} | changed), "acme") != same
    )


def test_the_order_of_biases_is_not_part_of_the_fingerprint() -> None:
    biases = dict.fromkeys(range(20), 1.0)
    backwards = dict(reversed(biases.items()))
    assert len({fingerprint(_biased(each), "acme") for each in (biases, backwards)}) == 1


def _biased(biases: dict[int, float]) -> decoder_pb2.GenerateRequest:
    return decoder_pb2.GenerateRequest(sampling=decoder_pb2.Sampling(logit_bias=biases))


async def test_a_request_above_its_quote_is_refused_before_it_is_reserved() -> None:
    reserved: list[Spend] = []

    async def reserve(most: Spend) -> None:
        reserved.append(most)

    used = RequestUsage(reserve=reserve, quote=Spend(10, 1.0))
    await used.admit(Spend(10, 1.0), "EUR")
    for most, unit in ((Spend(11, 0.5), "tokens"), (Spend(9, 1.5), "EUR")):
        with pytest.raises(QuoteExceeded) as refused:
            await used.admit(most, "EUR")
        assert refused.value.metadata["unit"] == unit
    assert reserved == [Spend(10, 1.0)]
