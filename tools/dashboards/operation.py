"""What an operator watches: alerts, memory, the ledger and quotas, anomalies, calls, the gateway."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import (
    BYTES,
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Panels,
    board,
    lines,
    number,
    quantiles,
    rate,
)

D, G = "fovea_decoder_", "fovea_gateway_"
OURS, USED = "fovea_build_info", "DCGM_FI_DEV_FB_USED"
PROCESS = f" * on (instance) group_left(service) {OURS}"

# fmt: off


def build() -> dashboard.Dashboard:
    return board(
        "Fovea: operation",
        "fovea-operation",
        "Alerts, memory, the ledger, quotas, anomalies, calls and the gateway.",
        (("Now", _now()), ("Processes", _processes()), ("Ledger and tenants", _ledger()), ("Calls", _calls())),
    )


def _now() -> Panels:
    return [
        number("Alerts", COUNT, 'count(ALERTS{alertname=~"Fovea.*", alertstate="firing"}) or vector(0)', limit=1),
        number("Services", COUNT, f"count({OURS})"),
        number("Memory, fullest", SHARE, "max(fovea:memory_used:ratio)", limit=0.9),
        number("Ledger takes records", COUNT, f"min({D}ledger_up)"),
        number("Records lost, 1 d", COUNT, f"sum(increase({D}ledger_dropped_total[1d]))", limit=1),
        number("Anomalies, 1 d", COUNT, f"sum(increase({D}anomalies_total[1d]))"),
    ]


def _processes() -> Panels:
    return [
        lines("Memory of container or machine", SHARE, ("fovea:memory_used:ratio", "{{instance}}"), limit=0.9,
              text="Without the page cache. At the red line an alert wakes somebody."),
        lines("Resident memory", BYTES, (f"process_resident_memory_bytes{PROCESS}", "{{service}} {{instance}}")),
        lines("CPU cores", COUNT, (f"rate(process_cpu_seconds_total[$__rate_interval]){PROCESS}", "{{service}} {{instance}}")),
        lines("Open files", COUNT, (f"process_open_fds{PROCESS}", "{{service}} {{instance}}")),
        lines("Age", SECONDS, (f"(time() - process_start_time_seconds){PROCESS}", "{{service}} {{instance}}")),
        lines("Alerts that fire", COUNT, ('count by (alertname) (ALERTS{alertname=~"Fovea.*", alertstate="firing"})', "{{alertname}}")),
    ]


def _ledger() -> Panels:
    quotas = [(rate(f"{D}quota_{event}_total"), event.replace("_", " ")) for event in ("refused", "nearly_used", "unchecked")]
    rates = [(f"max by (tier) ({D}tier_silent_error_{kind})", f"{{{{tier}}}} {kind}") for kind in ("rate", "bound")]
    return [
        lines("Records that wait", SHARE, (f"{D}ledger_waiting / {D}limit_ledger_queue", "{{instance}}"), text="Share of ledger_queue."),
        lines("Records", PER_SECOND, (rate(f"{D}ledger_written_total"), "written"), (rate(f"{D}ledger_dropped_total"), "lost")),
        lines("Quotas", PER_SECOND, *quotas),
        lines("Anomalies in an hour", COUNT, (f"sum by (kind) (increase({D}anomalies_total[1h]))", "{{kind}}")),
        lines("Silent errors of tiers", SHARE, *rates),
        lines("GPU memory", SHARE, (f"{USED} / ({USED} + DCGM_FI_DEV_FB_FREE)", "{{Hostname}} GPU {{gpu}}"), limit=0.9,
              text="Of NVIDIA's dcgm-exporter. A decoder takes most of its GPU for the KV cache when it starts."),
    ]


def _calls() -> Panels:
    return [
        lines("Calls by code", PER_SECOND, (rate("grpc_server_handled_total", "grpc_code"), "{{grpc_code}}"), stacked=True),
        lines("Calls by method, p95", SECONDS, *quantiles("grpc_server_handling_seconds", "grpc_method", (0.95,))),
        lines("Calls that ended for silence of their caller", PER_SECOND, (rate("fovea_server_idle_calls_total", "waited_for"), "{{waited_for}}")),
        lines("HTTP requests by status", PER_SECOND, (rate(f"{G}http_requests_total", "status"), "{{status}}"), stacked=True),
        lines("HTTP requests by route, p95", SECONDS, *quantiles(f"{G}http_request_duration_seconds", "route", (0.95,))),
        lines("HTTP requests that run", COUNT, (f"{G}num_requests_running", "{{instance}}")),
    ]
