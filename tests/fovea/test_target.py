"""What clients and settings accept as servers."""

from __future__ import annotations

import pytest

from fovea.dns import DnsName
from fovea.target import Target, targeted


def test_addresses_are_listed_or_one_name_is_looked_up() -> None:
    assert Target.parse("a:1") == Target(("a:1",))
    assert Target.parse(" a:1, [::1]:2,a:1") == Target(("a:1", "[::1]:2"))
    assert Target.parse("dns:///decoders.example:50052") == Target(name=DnsName("decoders.example", 50052))
    assert targeted(" a:1 , b:2 ") == "a:1,b:2"
    assert targeted("dns:///decoders:1") == "dns:///decoders:1"


@pytest.mark.parametrize(
    "text", ["", ",", "a:1,", "a", "a:1,b", "a:1,dns:///b:1", "dns:a:1", "http://a:1", "a:0"]
)
def test_what_names_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no|empty entry|stands alone|host:port|is a URL|no port"):
        Target.parse(text)


def test_a_target_is_several_or_on_this_machine() -> None:
    assert not Target.parse("a:1").is_several
    assert Target.parse("a:1,b:1").is_several
    assert Target.parse("dns:///a:1").is_several
    assert Target.parse("127.0.0.1:1,localhost:2,unix:a.sock").is_local
    assert not Target.parse("127.0.0.1:1,a:2").is_local
    assert not Target.parse("dns:///localhost:1").is_local
