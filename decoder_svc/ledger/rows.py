"""Records as rows of the table, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from fovea.contract.codec import pick
from fovea.contract.receipt import decode_receipt, encode_receipt
from fovea.contract.usage import Outcome, UsageRecord, hour_of

SUMMED = (
    "text_tokens", "visual_tokens", "naive_visual_tokens", "cached_prompt_tokens", "output_tokens", "encodes",
    "wire_bytes",
)  # fmt: skip
"""Columns of the receipt's totals."""
PLAIN = ("id", "request_id", "parent_request_id", "tenant", "started", "method", "reason", "model")


def row_of(record: UsageRecord) -> dict[str, Any]:
    price = record.receipt.price
    return {
        **pick(record, PLAIN),
        **pick(record.receipt.totals, SUMMED),
        "hour": hour_of(record.started),
        "outcome": record.outcome.value,
        "tier": record.tier,
        "image_kind": record.image_kind,
        "amount": price.amount,
        "naive_amount": price.naive_amount,
        "currency": price.currency,
        "receipt": encode_receipt(record.receipt),
    }


def record_of(row: Row[Any]) -> UsageRecord:
    return UsageRecord(
        outcome=Outcome(row.outcome), receipt=decode_receipt(bytes(row.receipt)), **pick(row, PLAIN)
    )
