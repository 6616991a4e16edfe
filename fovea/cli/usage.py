"""`fovea usage`: sums over the ledger, its records, anomalies, and their export."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.options import DECODER, DECODER_HINT, Access, DecoderAddress, Json, takes_access
from fovea.cli.output import emit, reported

if TYPE_CHECKING:
    from fovea.client import Anomaly, Client, UsageRecord, UsageSummary

HOUR_S = 3600
FORMULA = ("=", "+", "-", "@")
COLUMNS = ("requests", "text_tokens", "visual_tokens", "cached_prompt_tokens", "output_tokens", "encodes")


class By(StrEnum):
    """By what to sum up; equal to the client's dimensions, which are not imported for `--help`."""

    TENANT = "tenant"
    TIER = "tier"
    HOUR = "hour"
    MODEL = "model"
    KIND = "kind"


class Export(StrEnum):
    """Formats for other programs."""

    CSV = "csv"
    JSONL = "jsonl"


@takes_access
def usage(
    access: Access,
    by: Annotated[By | None, typer.Option("--by", help="Sum up by this; without it, a single sum.")] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Only this tenant. For operators.")] = "",
    hours: Annotated[
        float | None, typer.Option("--hours", min=0, help="Only requests of the last so many hours.")
    ] = None,
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="The records of this request id instead of sums.")
    ] = "",
    records: Annotated[bool, typer.Option("--records", help="Records, newest first.")] = False,
    anomalies: Annotated[
        bool, typer.Option("--anomalies", help="What has changed in the use of tenants, newest first.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="The most records or anomalies to print.")
    ] = 1000,
    export: Annotated[Export | None, typer.Option("--export", help="Print as CSV or as JSON lines.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the sums as a PNG; needs matplotlib.")
    ] = None,
    as_json: Json = False,
    decoder: DecoderAddress = DECODER,
) -> None:
    """Print what requests have used: sums over the ledger, its records, or anomalies."""
    from fovea.client import Client

    _check_options(
        {"--request": request, "--records": records, "--anomalies": anomalies},
        {"--by": by, "--plot": plot, "--hours": hours, "--tenant": tenant},
    )
    with reported(as_json, DECODER_HINT), Client(decoder, access.token, tls=access.tls()) as client:
        start = None if hours is None else time.time() - hours * HOUR_S
        if request or records:
            found = client.get_usage(request) if request else _listed(client, tenant, start, limit)
            _print_records(found[:limit], export, as_json)
            return
        if anomalies:
            _print_anomalies(client.list_anomalies(tenant)[:limit], export, as_json)
            return
        sums = client.summarize_usage(by.value if by else None, tenant=tenant, start=start)
        if plot is not None:
            from fovea.cli.usage_plot import draw

            draw(sums, by.value if by else "", plot)
    _print_sums(sums, export, as_json)


UNUSED = {
    "--request": ("--records", "--anomalies", "--by", "--plot", "--hours", "--tenant"),
    "--records": ("--anomalies", "--by", "--plot"),
    "--anomalies": ("--by", "--plot", "--hours"),
}
"""Options that have no effect beside another."""


def _check_options(kinds: Mapping[str, object], others: Mapping[str, object]) -> None:
    """Raises BadParameter for an option that would be ignored."""
    chosen = {**kinds, **others}
    given = {name for name, value in chosen.items() if value not in ("", None) and value is not False}
    for name, unused in UNUSED.items():
        if name in given and (wrong := [other for other in unused if other in given]):
            raise typer.BadParameter(f"{wrong[0]} has no effect beside {name}")


def _listed(client: Client, tenant: str, start: float | None, limit: int) -> list[UsageRecord]:
    listed: list[UsageRecord] = []
    for record in client.list_usage(tenant=tenant, start=start):
        listed.append(record)
        if len(listed) == limit:
            break
    return listed


def _print_records(records: Sequence[UsageRecord], export: Export | None, as_json: bool) -> None:
    if as_json:
        emit(records=[record.as_json() for record in records])
    elif export is Export.JSONL:
        for record in records:
            typer.echo(json.dumps(record.as_json()))
    elif export is Export.CSV:
        _print_csv(map(_flat, records))
    else:
        for record in records:
            typer.echo(_line(record))


def _print_sums(sums: Sequence[UsageSummary], export: Export | None, as_json: bool) -> None:
    if as_json:
        emit(summaries=[vars(summary) for summary in sums])
    elif export is Export.JSONL:
        for summary in sums:
            typer.echo(json.dumps(vars(summary)))
    elif export is Export.CSV:
        _print_csv(map(vars, sums))
    else:
        typer.echo("\n".join(_table(sums)))


def _print_anomalies(anomalies: Sequence[Anomaly], export: Export | None, as_json: bool) -> None:
    values = [anomaly.as_json() for anomaly in anomalies]
    if as_json:
        emit(anomalies=values)
    elif export is Export.JSONL:
        for value in values:
            typer.echo(json.dumps(value))
    elif export is Export.CSV:
        _print_csv(values)
    else:
        header = ["time", "tenant", "kind", "images", "usual", "value", "request"]
        typer.echo("\n".join(_columns([header, *map(_cells, anomalies)])))


def _cells(anomaly: Anomaly) -> list[str]:
    """Tokens are whole numbers, shares are percentages. A kind of a newer server may be either."""
    kind = anomaly.kind.value if anomaly.kind else "unknown"
    shown = "{:,.0f}" if anomaly.image_kind else "{:.0%}"
    values = [shown.format(anomaly.usual), shown.format(anomaly.value)]
    return [_when(anomaly.time), anomaly.tenant, kind, anomaly.image_kind, *values, anomaly.request_id]


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})
    typer.echo(text.getvalue(), nl=False)


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe: callers choose request ids."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _flat(record: UsageRecord) -> dict[str, Any]:
    """A record without its images: a column per value."""
    own = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "receipt"}
    receipt = record.receipt
    stages = {f"{name}_ms": ms for name, ms in vars(receipt.stages_ms).items()}
    derived = {"tier": record.tier, "image_kind": record.image_kind}
    return {
        **own,
        "outcome": record.outcome.value,
        **derived,
        **vars(receipt.totals),
        **stages,
        **vars(receipt.price),
    }


def _line(record: UsageRecord) -> str:
    totals = record.receipt.totals
    why = f" {record.reason}" if record.reason else ""
    tokens = f"{totals.visual_tokens:,} visual + {totals.text_tokens:,} text in, {totals.output_tokens:,} out"
    call = f"{_when(record.started)}  {record.request_id}  {record.tenant}"
    return f"{call}  {record.outcome.value}{why}  {tokens}, {record.receipt.stages_ms.total:.0f} ms"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _table(sums: Sequence[UsageSummary]) -> list[str]:
    """A line per sum, columns aligned; the price only where there is a tariff."""
    header = ["", *(name.replace("_", " ") for name in COLUMNS), "not ok", "price"]
    rows = [
        [
            summary.key or "all",
            *(f"{getattr(summary, name):,}" for name in COLUMNS),
            f"{summary.requests - summary.ok - summary.length:,}",
            f"{summary.amount:.6g} {summary.currency}" if summary.currency else "",
        ]
        for summary in sums
    ]
    return _columns([header, *rows])


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_aligned(row, widths) for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *others]).rstrip()
