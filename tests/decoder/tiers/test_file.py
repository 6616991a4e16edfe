"""A tiers file with a mistake is refused with its line, key and value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from decoder_svc.errors import TiersFileInvalid
from decoder_svc.tiers.build import settings_of
from decoder_svc.tiers.exact import ExactSettings
from decoder_svc.tiers.file import Entry, OwnSettings, is_same, read_tiers
from decoder_svc.tiers.values import Prices
from fovea.contract.budget import Detail
from fovea.contract.image import ImageKind
from fovea.server import status

LISTEN = "127.0.0.1:50052"
OWN = '[[tier]]\nname = "large"\nkind = "model"\n'


@dataclass(frozen=True)
class Second:
    """Settings such as those of a second model."""

    model: Path
    engine: Literal["native", "vllm"] = "native"
    price: Prices | None = None


@dataclass(frozen=True)
class Remote:
    """Settings such as those of another decoder."""

    address: str


KINDS = settings_of() | {"model": Second, "decoder": Remote}


def read(tmp_path: Path, text: str, listen: str = LISTEN) -> tuple[Entry, ...]:
    file = tmp_path / "tiers.toml"
    file.write_text(text, encoding="utf-8")
    return read_tiers(file, KINDS, listen)


def test_a_file_is_read_into_the_settings_of_each_kind(tmp_path: Path) -> None:
    text = f"""
[[tier]]
name = "cache"
kind = "exact"
max_bytes = "2 MiB"

[[tier]]
name = "small"
kind = "model"
model = "standin/small"
price = {{ text_tokens = 0.1, output_tokens = 2 }}
when = {{ kinds = ["text", "photo"], max_images = 2, detail = "auto" }}
break_even = "warn"

{OWN}"""
    cache, small, large = read(tmp_path, text)
    assert (cache.settings, cache.line) == (ExactSettings(max_bytes=2 << 20), 2)
    assert small.settings == Second(Path("standin/small"), price=Prices(text_tokens=0.1, output_tokens=2.0))
    when = small.common.when
    assert (when.kinds, when.max_images, when.detail) == (
        (ImageKind.TEXT, ImageKind.PHOTO),
        2,
        Detail.AUTO,
    )
    assert (small.common.break_even, small.is_own) == ("warn", False)
    assert (large.settings, large.name, large.line, large.is_own) == (OwnSettings(), "large", 15, True)


def tier(*lines: str, name: str = "a", kind: str = "exact") -> str:
    return "\n".join(["[[tier]]", f'name = "{name}"', f'kind = "{kind}"', *lines, "", ""])


WRONG = {
    "not TOML": ("[[tier]]\nname = \n", 2, "is not TOML"),
    "cut off": ('[[tier]]\nname = "a', 2, "is not TOML"),
    "empty": ("", 1, "lists no tier"),
    "another key": (f"\nlisten = 1\n{OWN}", 2, "listen 1 is not a key of this file"),
    "no list": ("tier = 3\n", 1, "tier 3 is not a list of tables"),
    "no name": ('[[tier]]\nkind = "model"\n', 1, "name is missing"),
    "no kind": ('[[tier]]\nname = "large"\n', 1, "kind is missing"),
    "a name with a separator": ('[[tier]]\nname = "a>b"\nkind = "model"\n', 2, "name 'a>b' is not a name"),
    "a name that is no text": ('[[tier]]\nname = 1\nkind = "model"\n', 2, "name 1 is not a name"),
    "unknown kind": (tier(kind="semantic") + OWN, 3, "kind 'semantic' is not a kind of tier; known are blank"),
    "kind that is no text": ('[[tier]]\nname = "a"\nkind = ["exact"]\n' + OWN, 3, "kind ['exact'] is not a kind"),
    "unknown key": (tier("max_byte = 1") + OWN, 4, "max_byte 1 is not a key here; did you mean max_bytes?"),
    "key of another kind": (tier('address = "h:1"') + OWN, 4, "address 'h:1' is not a key here; known are break_even"),
    "duplicate name": (tier() + tier() + OWN, 6, "name 'a' is the name of the tier at line 1 too"),
    "no own model": (tier(), 3, "kind 'exact' the last tier"),
    "own model not last": (OWN + tier(), 3, "kind 'model' the last tier"),
    "own model twice": (OWN + tier(name="b", kind="model"), 3, "kind 'model' the last tier"),
    "condition on the last": (OWN + "when = { max_images = 1 }\n", 4, "when cannot restrict the last tier"),
    "loop": (tier(f'address = "{LISTEN}"', kind="decoder") + OWN, 4, f"address '{LISTEN}' is this decoder's own address"),
    "loop by name": (tier('address = "localhost:50052"', kind="decoder") + OWN, 4, "is this decoder's own address"),
    "missing address": (tier(kind="decoder") + OWN, 1, "address is missing"),
    "unknown engine": (tier('model = "m"', 'engine = "onnx"', kind="model") + OWN, 5, "engine 'onnx'"),
    "not a size": (tier('max_bytes = "many"') + OWN, 4, "max_bytes 'many' is not a size such as 64 MiB"),
    "a text for a number": (tier('expiry_s = "60"') + OWN, 4, "expiry_s '60'"),
    "a number out of range": (tier("tenant_share = 1.5") + OWN, 4, "tenant_share 1.5"),
    "nothing to keep": (tier("max_bytes = 0") + OWN, 4, "max_bytes 0"),
    "unknown image kind": (tier('when = { kinds = ["cat"] }') + OWN, 4, "when.kinds 'cat' is not a kind of image; known are text"),
    "unknown condition": (tier("when = { hour = 3 }") + OWN, 4, "when.hour 3 is not a key here; known are detail"),
    "condition in a table": (tier("[tier.when]", "max_images = -1") + OWN, 5, "when.max_images -1"),
    "a price below 0": (tier('model = "m"', "price = { text_tokens = -1 }", kind="model") + OWN, 5, "price.text_tokens -1"),
    "unknown price": (tier('model = "m"', "price = { rows = 1 }", kind="model") + OWN, 5, "price.rows 1 is not a key here"),
    "unknown break_even": (tier('break_even = "never"') + OWN, 4, "break_even 'never'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, line, words = WRONG[name]
    with pytest.raises(TiersFileInvalid) as refused:
        read(tmp_path, text)
    error = refused.value
    assert error.line == line, error.message
    assert error.message.startswith(f"{tmp_path / 'tiers.toml'}, line {line}")
    assert words in error.message
    assert status.of(error, "").message


def test_a_value_of_several_lines_does_not_shift_the_line_of_a_mistake(tmp_path: Path) -> None:
    lines = ["when = { kinds = [", '  "text",', "] }", "max_bytes = -1"]
    with pytest.raises(TiersFileInvalid) as refused:
        read(tmp_path, tier(*lines) + OWN)
    assert refused.value.line == 7
    text = 'name = """\n[[tier]]\nname = "a"\n"""\n'
    with pytest.raises(TiersFileInvalid) as refused:
        read(tmp_path, f"[[tier]]\n{text}{OWN}")
    assert (refused.value.line, refused.value.key) == (5, "name")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TiersFileInvalid, match=r"absent\.toml cannot be read: No such file"):
        read_tiers(tmp_path / "absent.toml", KINDS, LISTEN)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TiersFileInvalid, match=r"binary\.toml is not UTF-8"):
        read_tiers(tmp_path / "binary.toml", KINDS, LISTEN)


@pytest.mark.parametrize(
    ("address", "listen", "same"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("localhost:1", "0.0.0.0:1", True),
        ("[::1]:1", "[::]:1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("decoder-b:1", "0.0.0.0:1", False),
        ("10.0.0.1:1", "10.0.0.1:1", True),
        ("10.0.0.2:1", "10.0.0.1:1", False),
        ("unix:/run/a", "unix:/run/a", True),
        ("unix:/run/a", "0.0.0.0:1", False),
    ],
)
def test_a_decoder_knows_its_own_address(address: str, listen: str, same: bool) -> None:
    assert is_same(address, listen) is same
