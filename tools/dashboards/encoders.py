"""The encoders: which answer, what they compute, how long it takes, and their stores."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import BYTES, COUNT, PER_SECOND, SECONDS, Panels, board, lines, quantiles, rate

D, E = "fovea_decoder_", "fovea_encoder_"

# fmt: off


def build() -> dashboard.Dashboard:
    return board(
        "Fovea: encoders",
        "fovea-encoders",
        "Images from pixels to rows: queue, tower, stages, stores, shared memory, text.",
        (("Images", _images()), ("Times", _times()), ("Stores", _stores()), ("Shared cache", _shared()), ("Beside the tower", _beside())),
    )


def _images() -> Panels:
    return [
        lines("Encoders that answer", COUNT, (f"min by (encoder) ({D}encoder_up)", "{{encoder}}"), text="1 while every decoder reaches it."),
        lines("Images by source", PER_SECOND, (rate(f"{E}images_total", "source"), "{{source}}"), stacked=True),
        lines("Rows by source", PER_SECOND, (rate(f"{E}rows_total", "source"), "{{source}}"), stacked=True),
        lines("Rows left out", PER_SECOND, (rate(f"{E}rows_left_out_total", "why"), "{{why}}"), text="flat: not encoded. choice: not sent."),
        lines("Images per tower call", COUNT, (f"{rate(f'{E}encodes_total')} / {rate(f'{E}batches_total')}", "mean")),
        lines(
            "Tower", COUNT,
            (f"sum by (instance) ({E}num_requests_running)", "{{instance}} running"),
            (f"sum by (instance) ({E}num_requests_waiting)", "{{instance}} waiting"),
        ),
    ]


def _times() -> Panels:
    stages = f"{E}stage_seconds"
    total = f"sum by (stage) (rate({stages}_sum[$__rate_interval])) / sum by (stage) (rate({stages}_count[$__rate_interval]))"
    return [
        lines("Stages, mean", SECONDS, (total, "{{stage}}"), text="tower is of the whole call, which several images may share."),
        lines("Stages, p95", SECONDS, *quantiles(stages, "stage", (0.95,))),
        lines("Bytes of rows sent", "Bps", (rate(f"{E}row_bytes_total", "instance"), "{{instance}}")),
    ]


def _stores() -> Panels:
    return [
        lines(
            "Stored bytes", BYTES,
            (f"sum by (partition) ({E}store_bytes)", "{{partition}}"),
            (f"sum({E}limit_cache_bytes)", "limit of rows"), (f"sum({E}limit_uploads_bytes)", "limit of uploads"),
        ),
        lines(
            "Reads and writes", PER_SECOND,
            *[(rate(f"{E}store_{event}_total", "partition"), f"{event} of {{{{partition}}}}") for event in ("hits", "misses", "puts")],
        ),
        lines(
            "Evictions and errors", PER_SECOND,
            *[(rate(f"{E}store_{event}_total"), event.replace("_", " "))
              for event in ("evictions", "skipped_puts", "failed_checks", "errors")],
        ),
    ]


def _shared() -> Panels:
    shared = f"{E}shared_cache"
    return [
        lines(
            "Reads and writes of the shared cache", PER_SECOND,
            *[(rate(f"{shared}_{event}_total"), event.replace("_", " "))
              for event in ("hits", "misses", "puts", "dropped_puts", "failed_checks", "errors")],
        ),
        lines(
            "Servers of the shared cache", COUNT,
            (f"{shared}_servers", "{{instance}} configured"), (f"{shared}_servers_up", "{{instance}} answer"),
        ),
        lines("Bytes that wait for the shared cache", BYTES, (f"{shared}_queue_bytes", "{{instance}}")),
    ]


def _beside() -> Panels:
    reads = rate(f"{D}same_host_reads_total"), rate(f"{D}same_host_fallbacks_total")
    return [
        lines("Shared memory", BYTES, (f"{E}arena_used_bytes", "{{instance}}")),
        lines("Images over shared memory", PER_SECOND, (reads[0], "read"), (reads[1], "fallbacks to the network")),
        lines("Images read as text", PER_SECOND, (rate(f"{E}texts_total", "result"), "{{result}}"), stacked=True),
        lines("Images that wait for the reader of text", COUNT, (f"{E}texts_waiting", "{{instance}}")),
        lines("CPU time of reading", SECONDS, *quantiles(f"{E}text_cpu_seconds")),
        lines("Erasure awaits a compaction", COUNT, (f"{E}erasure_due", "{{instance}}")),
    ]
