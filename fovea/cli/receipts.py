"""A receipt in a few lines for people. `--json` prints all of it."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Step

SOURCES = {"encoded": "miss", "rows": "hit", "prefix": "hit in the KV cache", "none": "not needed"}


def lines(receipt: Receipt, names: Sequence[str]) -> list[str]:
    """A line per image, then tokens, savings and times; `names` are the images as the caller wrote them."""
    totals = receipt.totals
    images = [f"image   {_image(image, name)}" for image, name in zip(receipt.images, names, strict=False)]
    tokens = f"{totals.visual_tokens:,} visual + {totals.text_tokens:,} text in, {totals.output_tokens:,} out"
    times = f"ms      {stages(receipt.stages_ms)}"
    return [*images, f"tokens  {tokens}", *economy(receipt), times]


def economy(receipt: Receipt) -> list[str]:
    """Savings against a server without planning, the price, and whether detail was lowered."""
    totals, price = receipt.totals, receipt.price
    notes = []
    if totals.visual_tokens < totals.naive_visual_tokens:
        tokens = share(totals.visual_tokens, totals.naive_visual_tokens)
        patches = share(totals.patches, totals.naive_patches)
        notes.append(
            f"saved   {tokens} of {totals.naive_visual_tokens:,} visual tokens,"
            f" {patches} of {totals.naive_patches:,} patches in the tower"
        )
    if price.currency:
        without = f", {price.naive_amount:.6g} without planning" if price.naive_amount else ""
        notes.append(f"price   {price.amount:.6g} {price.currency}{without}")
    notes += [f"tier    {name}: {why}" for name, why in hops(receipt)]
    if receipt.degraded:
        notes.append("detail  lowered, because the server was near a limit")
    return notes


def hops(receipt: Receipt) -> list[tuple[str, str]]:
    """Each tier that was tried and its reason, if there was more than a single tier."""
    tier = receipt.tier
    return list(zip(tier.path, tier.reasons, strict=False)) if len(tier.path) > 1 else []


def share(rest: int, whole: int) -> str:
    """The saved share of the whole in percent, rounded down: 100% only if nothing is left."""
    return f"{100 * (whole - rest) // whole}%" if whole else "0%"


def steps(done: Sequence[Step]) -> str:
    """The changes to an image, for instance `resize 1,900 to 1,230 (max_pixels)`."""
    return ", ".join(f"{step.name} {step.before:,} to {step.after:,} ({step.reason})" for step in done)


def one_line(receipt: Receipt) -> str:
    """Tokens, hit or miss, times and bytes of an answer."""
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
    done = f"; {steps(image.steps)}" if image.steps else ""
    tokens = "1 token" if image.tokens == 1 else f"{image.tokens:,} tokens"
    return (
        f"{name} {'x'.join(map(str, image.original))}{resized}: {tokens},"
        f" {SOURCES[image.source]}{where}, {size(image.wire_bytes)} moved{done}"
    )


def stages(ms: Stages) -> str:
    return (
        f"queue {ms.queue:.1f}, encode {ms.encode:.1f}, transfer {ms.transfer:.1f}, "
        f"prefill {ms.prefill:.1f}, first token {ms.ttft:.1f}, decode {ms.decode:.1f}, total {ms.total:.1f}"
    )


def size(count: int) -> str:
    """Bytes in the largest unit that fits."""
    for unit, unit_bytes in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= unit_bytes:
            return f"{count / unit_bytes:.1f} {unit}"
    return f"{count} B"
