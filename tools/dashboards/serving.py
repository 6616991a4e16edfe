"""What callers notice: answers, first tokens, the time between tokens, and the engine behind them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import (
    COUNT,
    PER_SECOND,
    SECONDS,
    SHARE,
    Panels,
    board,
    lines,
    mean,
    number,
    quantiles,
    rate,
    share,
)

D, E = "fovea_decoder_", "fovea_encoder_"
TTFT, ITL = f"{D}time_to_first_token_seconds", f"{D}inter_token_latency_seconds"
STAGES = ("queue", "encode", "transfer", "prefill")
ERRORS = "fovea:request_errors:ratio_rate"

# fmt: off


def build() -> dashboard.Dashboard:
    return board(
        "Fovea: serving",
        "fovea-serving",
        "Answers, first tokens and the time between tokens, by stage; the engine and its KV cache.",
        (("Now", _now()), ("Requests", _requests()), ("Times", _times()), ("Engine", _engine())),
    )


def _now() -> Panels:
    (ttft, _), (itl, _) = quantiles(TTFT, shares=(0.95,)) + quantiles(ITL, shares=(0.95,))
    return [
        number("Requests", PER_SECOND, rate(f"{D}requests_total")),
        number("Failed, 1 h", SHARE, f"{ERRORS}1h", limit=0.005, text="Of requests that callers neither cancelled nor got refused."),
        number("First token, p95", SECONDS, ttft, limit=5.12),
        number("Between tokens, p95", SECONDS, itl),
        number("KV cache, fullest", SHARE, f"max({D}kv_cache_usage_perc)", limit=0.9),
        number("Encoders that answer", COUNT, f"count(max by (encoder) ({D}encoder_up) == 1) or vector(0)"),
    ]


def _requests() -> Panels:
    errors = [(f"{ERRORS}{window}", window) for window in ("5m", "1h", "6h", "3d")]
    return [
        lines("Requests by outcome", PER_SECOND, (rate(f"{D}requests_total", "outcome"), "{{outcome}}"), stacked=True),
        lines("Failed requests by window", SHARE, *errors, limit=0.005, text="The red line is the error budget of 0.5 %."),
        lines(
            "Running and waiting", COUNT,
            (f"sum({D}num_requests_running)", "running"), (f"sum({D}num_requests_waiting)", "waiting"),
        ),
    ]


def _times() -> Panels:
    means = [(mean(f"{D}request_{stage}_time_seconds"), stage) for stage in STAGES]
    tails = [(quantiles(f"{D}request_{stage}_time_seconds", shares=(0.95,))[0][0], stage) for stage in STAGES]
    overlap = "Means over the requests that had the stage. Encode and transfer of an image overlap with the prefill of what stands before it."
    return [
        lines("Time to first token", SECONDS, *quantiles(TTFT)),
        lines("First token by stage, mean", SECONDS, *means, (mean(TTFT), "call to first token"), text=overlap),
        lines("First token by stage, p95", SECONDS, *tails),
        lines("Time between tokens", SECONDS, *quantiles(ITL)),
        lines(
            "Decode by stage, mean", SECONDS,
            (mean(ITL), "between two tokens"), (mean(f"{D}request_decode_time_seconds"), "first token to last"),
        ),
        lines("Call to last token", SECONDS, *quantiles(f"{D}e2e_request_latency_seconds")),
    ]


def _engine() -> Panels:
    hits = share(f"{D}prefix_cache_hits_total", f"{D}prefix_cache_queries_total")
    return [
        lines(
            "Tokens", PER_SECOND,
            (rate(f"{D}prompt_tokens_total", "kind"), "prompt, {{kind}}"), (rate(f"{D}generation_tokens_total"), "answer"),
        ),
        lines("KV cache", SHARE, (f"{D}kv_cache_usage_perc", "{{instance}}"), limit=0.9, text="Blocks that requests hold."),
        lines("Prompt tokens from the KV cache", SHARE, (hits, "prefix hits")),
        lines("Preemptions", PER_SECOND, (rate(f"{D}num_preemptions_total", "instance"), "{{instance}}")),
        lines(
            "Tokens per request, mean", COUNT,
            (f"{rate(f'{D}prompt_tokens_total')} / {rate(f'{D}requests_total')}", "prompt"),
            (f"{rate(f'{D}generation_tokens_total')} / {rate(f'{D}requests_total')}", "answer"),
        ),
        lines(
            "Queues, share of their limit", SHARE,
            (f"{D}num_requests_waiting / {D}limit_max_waiting", "decoder {{instance}}"),
            (f"{E}num_requests_waiting / {E}limit_max_queue", "encoder {{instance}}"),
            limit=0.9,
        ),
    ]
