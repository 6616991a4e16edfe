"""Loads and renders the checkpoint's chat template.

Renders as `transformers` does (utils/chat_template_utils.py): Jinja's immutable sandbox, `trim_blocks`,
`lstrip_blocks`, loop controls, `raise_exception`, `strftime_now` and a `tojson` that does not escape HTML.
Does not call its `render_jinja_template`: the service loads without transformers, whose import takes seconds,
and a template that does not parse must be refused at start, not by the first request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from decoder_svc.prompt.errors import TemplateRefused
from fovea.checkpoint import read_json
from fovea.contract.errors import CheckpointNotSupported

Chat = Sequence[Mapping[str, Any]]


class ChatTemplate:
    """A compiled template and the special token strings that it may use, such as `eos_token`.

    What a checkpoint can do follows from its template: whether it `takes_tools`, `takes_calls` of tools in
    earlier turns, `takes_thinking` (the variable `enable_thinking`), and `reasons` (mentions `<think>`).
    """

    def __init__(self, source: str, variables: Mapping[str, str] | None = None) -> None:
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            known = meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise CheckpointNotSupported(
                f"the checkpoint's chat template does not parse: line {error.lineno}", line=error.lineno
            ) from error
        self._variables = dict(variables or {})
        self.takes_tools = "tools" in known
        self.takes_thinking = "enable_thinking" in known
        self.takes_calls = "tool_calls" in source and re.search("""['"]tool['"]""", source) is not None
        self.reasons = self.takes_thinking or "think>" in source

    @classmethod
    def load(cls, directory: Path) -> ChatTemplate:
        """The template of chat_template.jinja, else chat_template.json, else tokenizer_config.json."""
        config = _json(directory / "tokenizer_config.json")
        source = _find(directory, config)
        if source is None:
            raise CheckpointNotSupported("the checkpoint folder has no chat template")
        return cls(source, _special_strings(config))

    def render(
        self,
        chat: Chat,
        tools: Sequence[Mapping[str, Any]] | None = None,
        thinking: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The rendered chat, with the generation prompt unless it ends in a turn to continue."""
        own = {} if thinking is None else {"enable_thinking": thinking}
        try:
            return self._template.render(
                messages=chat,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._variables,
                **own,
            )
        except jinja2.TemplateError as error:
            raise TemplateRefused("the model's chat template does not take this chat") from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _find(directory: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    jinja = directory / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    for holder in (_json(directory / "chat_template.json"), tokenizer_config):
        source = _default(holder.get("chat_template"))
        if source is not None:
            return source
    return None


def _default(entry: object) -> str | None:
    """The chat template of an entry: the entry itself if a string, or the template named `default`."""
    if isinstance(entry, list):
        entry = {str(named.get("name")): named.get("template") for named in entry if isinstance(named, dict)}
    if isinstance(entry, dict):
        entry = entry.get("default")
    return entry if isinstance(entry, str) else None


def _special_strings(tokenizer_config: Mapping[str, Any]) -> dict[str, str]:
    """The `*_token` entries: strings, or dictionaries with the string under `content`."""
    named = {key: value for key, value in tokenizer_config.items() if key.endswith("_token")}
    plain = {key: v.get("content") if isinstance(v, dict) else v for key, v in named.items()}
    return {key: value for key, value in plain.items() if isinstance(value, str)}


def _json(path: Path) -> dict[str, Any]:
    """The object in an optional file; empty if the file is missing."""
    return read_json(path.parent, path.name) if path.is_file() else {}
