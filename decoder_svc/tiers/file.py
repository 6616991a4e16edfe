"""Reads the tiers file. Everything wrong in it is refused at start, with file, line, key and value.

The kinds of tier are given; a kind is known by the dataclass of its settings. Independent of how tiers
answer.
"""

from __future__ import annotations

import json
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from decoder_svc.errors import TiersFileInvalid
from decoder_svc.tiers.when import ALWAYS, When
from fovea.address import Address, is_loopback

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MODEL = "model"
"""The kind of tier that is the decoder's own model if it has no key of this name."""


@dataclass(frozen=True)
class Common:
    """The keys that every kind of tier has.

    `break_even` decides about a tier that costs at least as much as it saves.
    """

    name: str
    kind: str
    when: When = ALWAYS
    break_even: Literal["refuse", "warn"] = "refuse"


@dataclass(frozen=True)
class OwnSettings:
    """The decoder's own model has the decoder's settings."""


@dataclass(frozen=True)
class Entry:
    """A tier of the file. `settings` is of the dataclass of its kind, `line` where the tier begins."""

    common: Common
    settings: Any
    line: int

    @property
    def name(self) -> str:
        return self.common.name

    @property
    def is_own(self) -> bool:
        return isinstance(self.settings, OwnSettings)


def read_tiers(file: Path, kinds: Mapping[str, type], listen: str) -> tuple[Entry, ...]:
    """The tiers in order; `kinds` are the settings by kind, `listen` is this decoder's own address.

    Raises TiersFileInvalid.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise TiersFileInvalid(str(file), 0, "", None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TiersFileInvalid(str(file), 0, "", None, "is not UTF-8 text") from None
    return _Reader(str(file), text, kinds).entries(listen)


class _Reader:
    """Reads a file of a name and a text."""

    def __init__(self, file: str, text: str, kinds: Mapping[str, type]) -> None:
        self._file = file
        self._text = text
        self._kinds = kinds

    def entries(self, listen: str) -> tuple[Entry, ...]:
        entries = [self._entry(at, table) for at, table in enumerate(self._tables())]
        self._check_names(entries)
        self._check_own(entries)
        self._check_addresses(entries, listen)
        return tuple(entries)

    def _tables(self) -> Sequence[dict[str, Any]]:
        try:
            content = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            number = int(line[1]) if line else self._text.count("\n") + 1
            raise TiersFileInvalid(self._file, number, "", None, f"is not TOML: {error}") from None
        for key in content.keys() - {"tier"}:
            raise self._invalid((key,), key, content[key], "is not a key of this file; it has [[tier]] only")
        tables = content.get("tier", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._invalid(("tier",), "tier", tables, "is not a list of tables; write [[tier]]")
        if not tables:
            raise TiersFileInvalid(self._file, 1, "tier", None, "is missing: the file lists no tier")
        return tables

    def _entry(self, at: int, table: dict[str, Any]) -> Entry:
        for key in ("name", "kind"):
            self._check_text(at, table, key)
        kind = self._kind(at, table)
        common = get_type_hints(Common, include_extras=True)
        self._check_keys(("tier", at), table, common | get_type_hints(kind, include_extras=True))
        own = {key: value for key, value in table.items() if key not in common}
        shared = {key: value for key, value in table.items() if key in common}
        return Entry(self._parsed(at, Common, shared), self._parsed(at, kind, own), self._line(("tier", at)))

    def _check_text(self, at: int, table: dict[str, Any], key: str) -> None:
        if key not in table:
            raise self._invalid(("tier", at), key, None, "is missing")
        value = table[key]
        if key == "name" and not (isinstance(value, str) and NAME.fullmatch(value)):
            why = "is not a name of letters, digits, dots, dashes and underscores, at most 64"
            raise self._invalid(("tier", at, key), key, value, why)

    def _kind(self, at: int, table: dict[str, Any]) -> type:
        kind = table["kind"]
        if kind == MODEL and MODEL not in table:
            return OwnSettings
        if not isinstance(kind, str) or kind not in self._kinds:
            known = ", ".join(sorted({*self._kinds, MODEL}))
            raise self._invalid(
                ("tier", at, "kind"), "kind", kind, f"is not a kind of tier; known are {known}"
            )
        return self._kinds[kind]

    def _check_keys(self, path: Sequence[Any], table: dict[str, Any], types: Mapping[str, Any]) -> None:
        """Refuse keys that are not fields of these types, in tables within the table too."""
        for key, value in table.items():
            if key not in types:
                close = get_close_matches(key, types, 1)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(types))}"
                raise self._invalid((*path, key), _named((*path, key)), value, f"is not a key here; {hint}")
            inner = [kind for kind in (types[key], *get_args(types[key])) if _is_table(kind)]
            if inner and isinstance(value, dict):
                self._check_keys((*path, key), value, get_type_hints(inner[0], include_extras=True))

    def _parsed(self, at: int, kind: type, values: dict[str, Any]) -> Any:
        """The dataclass of these values. Checked as JSON, where a text is no number but names an enum."""
        try:
            return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            path = [part for part in problem["loc"] if not isinstance(part, int)]
            key = _named(("tier", at, *path))
            if problem["type"] in ("missing", "missing_argument"):
                raise self._invalid(("tier", at), key, None, "is missing") from None
            why = problem["msg"].removeprefix("Value error, ")
            why = why[:1].lower() + why[1:] if why.startswith(("Input", "Unexpected")) else why
            raise self._invalid(("tier", at, *path), key, problem["input"], why) from None

    def _check_names(self, entries: Sequence[Entry]) -> None:
        lines: dict[str, int] = {}
        for at, entry in enumerate(entries):
            if entry.name in lines:
                why = f"is the name of the tier at line {lines[entry.name]} too"
                raise self._invalid(("tier", at, "name"), "name", entry.name, why)
            lines[entry.name] = entry.line

    def _check_own(self, entries: Sequence[Entry]) -> None:
        """The decoder's own model is the last tier, and only the last."""
        own = [at for at, entry in enumerate(entries) if entry.is_own]
        last = len(entries) - 1
        why = "the last tier, and only the last, has kind model without a model: the decoder's own"
        if own != [last]:
            at = next((at for at in own if at != last), last)
            raise self._invalid(("tier", at, "kind"), "kind", entries[at].common.kind, why)
        if entries[last].common.when != ALWAYS:
            raise self._invalid(("tier", last, "when"), "when", None, "cannot restrict the last tier")

    def _check_addresses(self, entries: Sequence[Entry], listen: str) -> None:
        for at, entry in enumerate(entries):
            address = getattr(entry.settings, "address", None)
            if isinstance(address, str) and is_same(address, listen):
                why = f"is this decoder's own address ({listen}): its requests would never end"
                raise self._invalid(("tier", at, "address"), "address", address, why)

    def _invalid(self, path: Sequence[Any], key: str, value: Any, why: str) -> TiersFileInvalid:
        return TiersFileInvalid(self._file, self._line(path), key, value, why)

    def _line(self, path: Sequence[Any]) -> int:
        """The line with which the value at `path` is complete; that of its parent if it is not there."""
        lines = self._text.splitlines(keepends=True)
        for count in range(1, len(lines) + 1):
            try:
                content: Any = tomllib.loads("".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue  # within a value of several lines
            if _holds(content, path):
                return count
        return self._line(path[:-1]) if path else 1


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _named(path: Sequence[Any]) -> str:
    """The key of a tier, with the keys of the tables that it is in."""
    return ".".join(path[2:])


def _holds(content: Any, path: Sequence[Any]) -> bool:
    for part in path:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def is_same(address: str, listen: str) -> bool:
    """Whether a call to `address` reaches the server that listens on `listen` of this machine."""
    if address.startswith("unix:") or listen.startswith("unix:"):
        return address == listen
    try:
        called, own = Address.parse(address), Address.parse(listen)
    except ValueError:
        return False  # refused elsewhere
    if called.port != own.port:
        return False
    return called.host == own.host or (_is_here(called.host) and _is_here(own.host))


def _is_here(host: str) -> bool:
    """Whether a host is this machine, as far as its name says."""
    return host in ("0.0.0.0", "::", socket.gethostname()) or is_loopback(f"{host}:1")
