"""Signs what a request may cost at most, and checks the quotes that come back.

A quote is bound to its tenant and request by a digest of both, under HMAC-SHA-256. Nothing is stored.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

from decoder_svc.budget.tariff import Spend
from fovea.access.files import CredentialFile
from fovea.contract.count import Quote
from fovea.contract.errors import QuoteInvalid

KEY_BYTES = 32
TOKEN_CHARS = 1024


class QuoteSigner:
    """Signs with a key of its own unless a file gives the key that several decoders share."""

    def __init__(self, lifetime_s: float, file: CredentialFile | None = None) -> None:
        """Raises CredentialsInvalid for a key of less than KEY_BYTES."""
        key = file.read().strip() if file else secrets.token_bytes(KEY_BYTES)
        if file is not None and len(key) < KEY_BYTES:
            raise file.invalid(f"has {len(key)} bytes; a key has at least {KEY_BYTES}")
        self._key = key
        self._lifetime_s = lifetime_s

    def sign(self, quote: Quote, subject: str) -> Quote:
        """`subject` is the digest of tenant and request."""
        expires = time.time() + self._lifetime_s
        payload = json.dumps([quote.max_tokens, quote.max_amount, quote.currency, expires]).encode()
        token = b".".join(map(urlsafe_b64encode, (payload, self._code(payload, subject))))
        return replace(quote, token=token.decode(), expires=expires)

    def verify(self, token: str, subject: str) -> Spend:
        """The most that the request may spend. Raises QuoteInvalid."""
        try:
            if len(token) > TOKEN_CHARS:
                raise ValueError
            payload, code = map(urlsafe_b64decode, token.encode("ascii").split(b"."))
        except ValueError:
            raise QuoteInvalid("is not a quote") from None
        if not hmac.compare_digest(code, self._code(payload, subject)):
            raise QuoteInvalid("is not of this request, tenant and server")
        tokens, amount, _, expires = json.loads(payload)
        if expires < time.time():
            raise QuoteInvalid(f"expired {time.time() - expires:.0f} s ago")
        return Spend(tokens, amount)

    def _code(self, payload: bytes, subject: str) -> bytes:
        return hmac.digest(self._key, payload + b"\n" + subject.encode(), "sha256")
