"""Between the messages of the contract and plain values, for what both services and the client share.

Everything that crosses the wire is checked here or by its reader; nothing here calls anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from fovea.contract.image import ImageFacts
from fovea.contract.plan import EncodePlan, Reducer, RowSelection
from fovea.contract.receipt import SOURCES, ImageReceipt, Price, Receipt, Stages, Step, Tier, Totals
from fovea.contract.rows import LAYOUT_VERSION, RowDtype, RowGroupsUneven, RowLayout
from fovea.decoder.v1 import receipt_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.geometry import Geometry
from fovea.vision.v1 import image_pb2, rows_pb2

_DTYPES = {
    RowDtype.BF16: rows_pb2.ROW_DTYPE_BF16,
    RowDtype.FP16: rows_pb2.ROW_DTYPE_FP16,
    RowDtype.FP32: rows_pb2.ROW_DTYPE_FP32,
    RowDtype.FP8: rows_pb2.ROW_DTYPE_FP8,
    RowDtype.INT8: rows_pb2.ROW_DTYPE_INT8,
}
_DTYPES_BACK = {number: dtype for dtype, number in _DTYPES.items()}


def layout_to_proto(layout: RowLayout) -> rows_pb2.RowLayout:
    return rows_pb2.RowLayout(
        version=LAYOUT_VERSION,
        width=layout.width,
        levels=layout.levels,
        dtype=_DTYPES[layout.dtype],
        row_bytes=layout.row_bytes,
    )


def layout_from_proto(message: rows_pb2.RowLayout) -> RowLayout | None:
    """None where the sender speaks a layout that this version does not know, or contradicts itself."""
    dtype = _DTYPES_BACK.get(message.dtype)
    if dtype is None or message.version != LAYOUT_VERSION:
        return None
    try:
        layout = RowLayout(message.width, message.levels, dtype)
    except RowGroupsUneven:
        return None
    return layout if layout.row_bytes == message.row_bytes else None


def dtype_to_proto(name: str) -> rows_pb2.RowDtype.ValueType:
    return _DTYPES[RowDtype(name)] if name else rows_pb2.ROW_DTYPE_UNSPECIFIED


def dtype_from_proto(number: rows_pb2.RowDtype.ValueType) -> str:
    dtype = _DTYPES_BACK.get(number)
    return dtype.value if dtype else ""


def source_to_proto(name: str) -> rows_pb2.RowSource.ValueType:
    return rows_pb2.RowSource.Value(f"ROW_SOURCE_{name.upper()}")


def source_from_proto(number: rows_pb2.RowSource.ValueType) -> str:
    known = number in rows_pb2.RowSource.values()
    name = rows_pb2.RowSource.Name(number).removeprefix("ROW_SOURCE_").lower() if known else "none"
    return name if name in SOURCES else "none"


def reducer_to_proto(reducer: Reducer) -> rows_pb2.Reducer.ValueType:
    return rows_pb2.Reducer.Value(f"REDUCER_{reducer.name}")


def reducer_from_proto(number: rows_pb2.Reducer.ValueType, default: Reducer) -> Reducer:
    return Reducer[rows_pb2.Reducer.Name(number).removeprefix("REDUCER_")] if number else default


def plan_to_proto(plan: EncodePlan) -> encoder_pb2.EncodePlan:
    message = encoder_pb2.EncodePlan(max_pixels=plan.max_pixels, flat_tolerance=plan.flat_tolerance)
    if not plan.rows.all:
        choice = plan.rows
        message.rows.CopyFrom(
            encoder_pb2.RowChoice(
                keep=None if choice.auto else choice.keep,
                auto=choice.auto,
                reducer=reducer_to_proto(choice.reducer),
            )
        )
    return message


def plan_from_proto(message: encoder_pb2.EncodePlan) -> EncodePlan:
    """As it was sent, unchecked."""
    choice = message.rows
    return EncodePlan(
        message.max_pixels if message.HasField("max_pixels") else None,
        message.flat_tolerance if message.HasField("flat_tolerance") else None,
        RowSelection(
            choice.keep if choice.HasField("keep") else 1.0,
            choice.auto,
            reducer_from_proto(choice.reducer, Reducer.SCOPE),
        ),
    )


def kind_from_proto(number: image_pb2.ImageKind.ValueType) -> str:
    """UNSPECIFIED for one that this version does not know."""
    known = number in image_pb2.ImageKind.values()
    return image_pb2.ImageKind.Name(number).removeprefix("IMAGE_KIND_") if known else "UNSPECIFIED"


def _format_from_proto(number: image_pb2.ImageFormat.ValueType) -> str:
    """UNSPECIFIED for one that this version does not know."""
    known = number in image_pb2.ImageFormat.values()
    return image_pb2.ImageFormat.Name(number).removeprefix("IMAGE_FORMAT_") if known else "UNSPECIFIED"


def facts_to_proto(facts: ImageFacts) -> image_pb2.ImageFacts:
    return image_pb2.ImageFacts(
        digest=facts.digest,
        pixel_digest=facts.pixel_digest,
        format=image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{facts.format}"),
        byte_size=facts.byte_size,
        size=image_pb2.Size(width=facts.width, height=facts.height),
        exif_orientation=facts.exif_orientation,
        had_alpha=facts.had_alpha,
        text_height=facts.text_height,
        edge_density=facts.edge_density,
        uniform_share=facts.uniform_share,
        kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{facts.kind}"),
    )


def facts_from_proto(message: image_pb2.ImageFacts) -> ImageFacts:
    return ImageFacts(
        digest=message.digest,
        pixel_digest=message.pixel_digest,
        format=_format_from_proto(message.format),
        byte_size=message.byte_size,
        width=message.size.width,
        height=message.size.height,
        exif_orientation=message.exif_orientation,
        had_alpha=message.had_alpha,
        text_height=message.text_height,
        edge_density=message.edge_density,
        uniform_share=message.uniform_share,
        kind=kind_from_proto(message.kind),
    )


def count_to_proto(
    geometry: Geometry, width: int, height: int, max_pixels: int | None, row_bytes: int
) -> image_pb2.TokenCount:
    """What an image of this size costs; `row_bytes` are those of one row."""
    planned = geometry.plan(width, height, max_pixels)
    return image_pb2.TokenCount(
        original=image_pb2.Size(width=width, height=height),
        planned=image_pb2.Size(width=planned.width, height=planned.height),
        grid=grid_to_proto(planned.grid_thw),
        patches=planned.patches,
        tokens=planned.tokens,
        row_bytes=planned.tokens * row_bytes,
    )


def grid_to_proto(grid: tuple[int, int, int]) -> image_pb2.GridThw:
    return image_pb2.GridThw(t=grid[0], h=grid[1], w=grid[2])


def steps_to_proto(steps: Sequence[Step]) -> list[receipt_pb2.ReceiptStep]:
    return [receipt_pb2.ReceiptStep(**vars(step)) for step in steps]


def _image_to_proto(image: ImageReceipt) -> receipt_pb2.ReceiptImage:
    return receipt_pb2.ReceiptImage(
        digest=image.digest,
        original=image_pb2.Size(width=image.original[0], height=image.original[1]),
        planned=image_pb2.Size(width=image.planned[0], height=image.planned[1]),
        grid=grid_to_proto(image.grid_thw),
        patches=image.patches,
        tokens_full=image.tokens_full,
        tokens=image.tokens,
        steps=steps_to_proto(image.steps),
        source=source_to_proto(image.source),
        encoder=image.encoder,
        dtype=dtype_to_proto(image.dtype),
        row_bytes=image.row_bytes,
        wire_bytes=image.wire_bytes,
        rows_digest=image.rows_digest,
        repeat_of=image.repeat_of,
        kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{image.kind}"),
    )


def _image_from_proto(message: receipt_pb2.ReceiptImage) -> ImageReceipt:
    return ImageReceipt(
        digest=message.digest,
        original=(message.original.width, message.original.height),
        planned=(message.planned.width, message.planned.height),
        grid_thw=(message.grid.t, message.grid.h, message.grid.w),
        patches=message.patches,
        tokens_full=message.tokens_full,
        tokens=message.tokens,
        steps=tuple(Step(s.name, s.before, s.after, s.reason) for s in message.steps),
        source=source_from_proto(message.source),
        encoder=message.encoder,
        dtype=dtype_from_proto(message.dtype),
        row_bytes=message.row_bytes,
        wire_bytes=message.wire_bytes,
        rows_digest=message.rows_digest,
        repeat_of=message.repeat_of if message.HasField("repeat_of") else None,
        kind=kind_from_proto(message.kind),
    )


def receipt_to_proto(receipt: Receipt) -> receipt_pb2.Receipt:
    return receipt_pb2.Receipt(
        images=[_image_to_proto(image) for image in receipt.images],
        totals=receipt_pb2.ReceiptTotals(**vars(receipt.totals)),
        stages_ms=receipt_pb2.ReceiptStages(**vars(receipt.stages_ms)),
        tier=receipt_pb2.ReceiptTier(path=receipt.tier.path, reason=receipt.tier.reason),
        price=receipt_pb2.ReceiptPrice(**vars(receipt.price)),
        degraded=receipt.degraded,
    )


def receipt_from_proto(message: receipt_pb2.Receipt) -> Receipt:
    totals, stages = message.totals, message.stages_ms
    return Receipt(
        images=tuple(_image_from_proto(image) for image in message.images),
        totals=Totals(**{name: getattr(totals, name) for name in Totals.__dataclass_fields__}),
        stages_ms=Stages(**{name: getattr(stages, name) for name in Stages.__dataclass_fields__}),
        tier=Tier(tuple(message.tier.path), message.tier.reason),
        price=Price(message.price.amount, message.price.currency, message.price.naive_amount),
        degraded=message.degraded,
    )
