"""Price of an answer by the operator's tariff: prices per million of each kind."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.contract.receipt import Price, Totals

MILLION = 1e6


@dataclass(frozen=True)
class Spend:
    """Tokens of prompts and answers, and their price."""

    tokens: int = 0
    amount: float = 0.0

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.tokens + other.tokens, self.amount + other.amount)


@dataclass(frozen=True)
class Tariff:
    """Without a currency there is no tariff. Tokens of any kind from the KV cache cost `cached_tokens`."""

    currency: str = ""
    text_tokens: float = 0.0
    visual_tokens: float = 0.0
    output_tokens: float = 0.0
    cached_tokens: float = 0.0
    patches: float = 0.0

    def price(self, totals: Totals, cached_visual: int) -> Price:
        """`cached_visual` is the number of visual tokens among the cached tokens."""
        if not self.currency:
            return Price()
        output = totals.output_tokens * self.output_tokens
        amount = (
            output
            + (totals.text_tokens - totals.cached_prompt_tokens + cached_visual) * self.text_tokens
            + (totals.visual_tokens - cached_visual) * self.visual_tokens
            + totals.cached_prompt_tokens * self.cached_tokens
            + totals.patches * self.patches
        )
        naive = (
            output
            + totals.text_tokens * self.text_tokens
            + totals.naive_visual_tokens * self.visual_tokens
            + totals.naive_patches * self.patches
        )
        return Price(amount / MILLION, self.currency, naive / MILLION)

    def most(self, totals: Totals) -> Spend:
        """The most that these totals cost, whichever tokens come from the KV cache."""
        text = totals.text_tokens * max(self.text_tokens, self.cached_tokens)
        visual = totals.visual_tokens * max(self.visual_tokens, self.cached_tokens)
        output = totals.output_tokens * self.output_tokens
        amount = (text + visual + output + totals.patches * self.patches) / MILLION
        return Spend(totals.text_tokens + totals.visual_tokens + totals.output_tokens, amount)
