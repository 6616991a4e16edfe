"""The object `fovea` of a request: what Fovea can do beside the OpenAI API."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from fovea.client import Budget, Format
from fovea.contract.count import Quote
from gateway_svc.fields import Fields, as_texts, wrong

_INTEGERS = (
    "max_pixels",
    "max_visual_tokens",
    "flat_tolerance",
    "min_tokens",
    "max_short_side",
    "max_long_side",
)
_NUMBERS = ("keep", "near_repeats")
_CHOICES = tuple(each.name for each in fields(Budget) if each.name not in (*_INTEGERS, *_NUMBERS))
_TEXTS = ("tier", "idempotency_key", "parent_request_id")


@dataclass(frozen=True)
class Extension:
    """`options` are those of the client. `format` is the structured output of `regex` or `choice`."""

    options: dict[str, Any] = field(default_factory=dict)
    format: Format | None = None
    checkpoint_defaults: bool = False

    @classmethod
    def of(cls, body: Fields) -> Extension:
        """Takes `fovea`."""
        extra = body.object("fovea")
        if extra is None:
            return cls()
        options: dict[str, Any] = {name: text for name in _TEXTS if (text := extra.text(name)) is not None}
        if (hop_limit := extra.integer("hop_limit")) is not None:
            options["hop_limit"] = hop_limit
        if (substitution := extra.flag("allow_text_substitution")) is not None:
            options["allow_text_substitution"] = substitution
        if (quote := extra.text("quote")) is not None:
            options["quote"] = Quote(0, token=quote)
        if (budget := extra.object("budget")) is not None:
            options["budget"] = _budget(budget)
        made = cls(options, _format(extra), extra.flag("checkpoint_defaults") or False)
        extra.close()
        return made


def _budget(given: Fields) -> Budget:
    values: dict[str, Any] = {name: given.integer(name) for name in _INTEGERS}
    values |= {name: given.number(name) for name in _NUMBERS}
    for name in _CHOICES:
        values[name] = given.text(name)
        try:
            Budget(**{name: values[name]})
        except ValueError as error:
            raise wrong(given.at(name), str(error)) from None
    given.close()
    return Budget(**values)


def _format(extra: Fields) -> Format | None:
    regex, choice = extra.text("regex"), extra.array("choice")
    if regex is not None and choice is not None:
        raise wrong(extra.at("choice"), "excludes fovea.regex")
    if choice is not None:
        return Format.choice(*as_texts(choice, extra.at("choice")))
    return None if regex is None else Format.regex(regex)
