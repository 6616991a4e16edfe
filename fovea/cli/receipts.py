"""A receipt in a few lines for people. The whole of it is in `--json`."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.receipt import ImageReceipt, Receipt, Stages

SOURCES = {"encoded": "miss", "rows": "hit", "prefix": "hit in the KV cache", "none": "not needed"}


def lines(receipt: Receipt, names: Sequence[str]) -> list[str]:
    """One line an image, one of tokens, one of times; `names` are the images as the caller wrote them."""
    totals = receipt.totals
    images = [f"image   {_image(image, name)}" for image, name in zip(receipt.images, names, strict=False)]
    tokens = f"{totals.visual_tokens:,} visual + {totals.text_tokens:,} text in, {totals.output_tokens:,} out"
    return [*images, f"tokens  {tokens}", f"ms      {stages(receipt.stages_ms)}"]


def one_line(receipt: Receipt) -> str:
    """Tokens, hit or miss, times and bytes of an answer about one image."""
    totals = receipt.totals
    source = ", ".join(SOURCES[image.source] for image in receipt.images)
    ms = receipt.stages_ms
    return (
        f"{totals.visual_tokens} visual + {totals.text_tokens} text tokens, {source}, "
        f"encode {ms.encode:.1f} transfer {ms.transfer:.1f} "
        f"prefill {ms.prefill:.1f} decode {ms.decode:.1f} ms, {size(totals.wire_bytes)} moved"
    )


def _image(image: ImageReceipt, name: str) -> str:
    seen = "x".join(map(str, image.planned))
    resized = "" if image.planned == image.original else f", seen as {seen}"
    where = f" on {image.encoder}" if image.encoder else ""
    return (
        f"{name} {'x'.join(map(str, image.original))}{resized}: {image.tokens:,} tokens,"
        f" {SOURCES[image.source]}{where}, {size(image.wire_bytes)} moved"
    )


def stages(ms: Stages) -> str:
    return (
        f"queue {ms.queue:.1f}, encode {ms.encode:.1f}, transfer {ms.transfer:.1f}, "
        f"prefill {ms.prefill:.1f}, first token {ms.ttft:.1f}, decode {ms.decode:.1f}, total {ms.total:.1f}"
    )


def size(count: int) -> str:
    """Bytes in the unit that keeps the figure short."""
    for unit, one in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"
