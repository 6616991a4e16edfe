"""What is spent and what is saved: tokens and money by tenant, savings by step, hit rates, tiers."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from tools.dashboards.panels import (
    COUNT,
    PER_SECOND,
    SHARE,
    Panels,
    board,
    lines,
    number,
    rate,
    share,
    variable,
)

D, E = "fovea_decoder_", "fovea_encoder_"
TENANT = 'tenant=~"$tenant"'
SPENT = f'{D}price_total{{plan="planned", {TENANT}}}'
NAIVE = f'{D}price_total{{plan="naive", {TENANT}}}'
VISUAL = f'{D}visual_tokens_total{{plan="%s"}}'
HITS = f'{D}images_total{{source=~"rows|prefix"}}'
LOOKED_UP = f'{D}images_total{{source=~"rows|prefix|encoded"}}'

# fmt: off


def build() -> dashboard.Dashboard:
    built = board(
        "Fovea: economy",
        "fovea-economy",
        "Tokens and money by tenant, what each step saves, and how often work is found done.",
        (("In the chosen time", _sums()), ("Tenants", _tenants()), ("Savings", _savings()), ("Hit rates", _hits())),
    )
    return built.with_variable(variable("tenant", "Tenant", f"label_values({D}requests_total, tenant)"))


def _sums() -> Panels:
    planned, naive = (f"sum(increase({VISUAL % plan}[$__range]))" for plan in ("planned", "naive"))
    spent, without = (f"sum by (currency) (increase({price}[$__range]))" for price in (SPENT, NAIVE))
    return [
        number("Spent", COUNT, spent, text="By the tariff, in its currency."),
        number("Saved by plan and store", COUNT, f"{without} - {spent}"),
        number("Visual tokens saved", SHARE, f"1 - {planned} / {naive}"),
        number("Images not encoded again", SHARE, f"sum(increase({HITS}[$__range])) / sum(increase({LOOKED_UP}[$__range]))"),
        number("Prompt tokens", COUNT, f"sum(increase({D}prompt_tokens_total{{{TENANT}}}[$__range]))"),
        number("Tokens of answers", COUNT, f"sum(increase({D}generation_tokens_total{{{TENANT}}}[$__range]))"),
    ]


def _tenants() -> Panels:
    prompt = rate(f"{D}prompt_tokens_total{{{TENANT}}}", "tenant")
    answer = rate(f"{D}generation_tokens_total{{{TENANT}}}", "tenant")
    hourly = [f"3600 * {rate(price, 'tenant, currency')}" for price in (SPENT, NAIVE)]
    return [
        lines("Prompt tokens by tenant", PER_SECOND, (prompt, "{{tenant}}"), stacked=True),
        lines("Tokens of answers by tenant", PER_SECOND, (answer, "{{tenant}}"), stacked=True),
        lines("Requests by tenant", PER_SECOND, (rate(f"{D}requests_total{{{TENANT}}}", "tenant"), "{{tenant}}"), stacked=True),
        lines("Requests without an answer by tenant", PER_SECOND, (rate(f'{D}requests_total{{outcome=~"refused|failed|deadline", {TENANT}}}', "tenant, outcome"), "{{tenant}} {{outcome}}"), stacked=True),
        lines("Money an hour by tenant", COUNT, (hourly[0], "{{tenant}} ({{currency}})"), stacked=True),
        lines("Money an hour saved by tenant", COUNT, (f"{hourly[1]} - {hourly[0]}", "{{tenant}} ({{currency}})"), stacked=True),
    ]


def _savings() -> Panels:
    return [
        lines("Visual tokens saved by step", PER_SECOND, (rate(f"{D}visual_tokens_saved_total", "step"), "{{step}}"), stacked=True),
        lines("Visual tokens", PER_SECOND, (rate(f"{D}visual_tokens_total", "plan"), "{{plan}}"), text="naive: without any plan."),
        lines("Patches encoded", PER_SECOND, (rate(f"{D}patches_total", "plan"), "{{plan}}"), text="naive: without plan and store."),
        lines("Tokens saved by text for pixels", PER_SECOND, (rate(f"{D}tier_text_saved_tokens_total"), "saved")),
        lines("Tiers", PER_SECOND, (rate(f"{D}tier_requests_total", "tier, result"), "{{tier}} {{result}}"), stacked=True),
        lines("Requests with less detail under load", PER_SECOND, (rate(f"{D}degraded_total"), "degraded")),
    ]


def _hits() -> Panels:
    store = [f'{E}store_{event}_total{{partition="rows"}}' for event in ("hits", "misses")]
    cache = [f"{D}row_cache_{event}_total" for event in ("hits", "misses")]
    exact = [f"{D}tier_{event}_total" for event in ("hits", "misses")]
    return [
        lines(
            "Hit rates", SHARE,
            (share(HITS, LOOKED_UP), "images that were not encoded"),
            (share(f"{D}prefix_cache_hits_total", f"{D}prefix_cache_queries_total"), "prompt tokens in the KV cache"),
            (_of_both(*store), "rows in the encoders' stores"),
            (_of_both(*cache), "rows in the decoders' row caches"),
            (_of_both(*exact), "exact answers"),
        ),
        lines("Images by source of their rows", PER_SECOND, (rate(f"{D}images_total", "source"), "{{source}}"), stacked=True),
        lines("Bytes of rows received", "Bps", (rate(f"{D}row_bytes_total"), "rows")),
    ]


def _of_both(hits: str, misses: str) -> str:
    """The share of hits in hits and misses."""
    return f"{rate(hits)} / ({rate(hits)} + {rate(misses)})"
