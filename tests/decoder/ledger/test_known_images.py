"""What tenants have sent before."""

from __future__ import annotations

from decoder_svc.ledger.known_images import KnownImages, Sent, Sight
from fovea.contract.image import ImageKind
from fovea.contract.receipt import ImageReceipt


def image(digest: str, tokens: int = 7, kind: ImageKind = ImageKind.TEXT) -> ImageReceipt:
    return ImageReceipt(digest, (1, 1), (1, 1), (1, 2, 2), 4, 1, tokens, kind=kind)


def sight(known: KnownImages, tenant: str, digest: str, tokens: int = 7) -> Sight | None:
    """Of the image of a request, before the request."""
    return known.add(tenant, [image(digest, tokens)]).seen[digest]


def test_a_flood_of_images_makes_no_image_of_another_tenant_new() -> None:
    """Otherwise a tenant's anomalies would tell what others send."""
    known = KnownImages(capacity=100)
    assert {sight(known, "acme", str(number)) for number in range(10)} == {None}
    assert {sight(known, "flood", str(number)) for number in range(1000)} == {None}
    assert {sight(known, "acme", str(number)) for number in range(10)} == {Sight(7, 10)}
    assert sight(known, "flood", "0") is None


def test_a_sight_tells_the_tokens_and_how_many_requests_of_the_tenant_ago() -> None:
    known = KnownImages(capacity=100)
    assert known.add("acme", [image("a", 7), image("b", 8)]).seen == {"a": None, "b": None}
    sight(known, "other", "a")
    assert sight(known, "acme", "a", 70) == Sight(7, 1)
    assert known.add("acme", [image("a", 7), image("b", 8)]).seen == {"a": Sight(70, 1), "b": Sight(8, 2)}


def test_a_request_continues_the_one_before_with_the_same_image_or_another_page() -> None:
    def flags(sent: Sent) -> tuple[bool, bool]:
        return sent.asks_again, sent.is_page

    known = KnownImages(capacity=100)
    assert flags(known.add("acme", [image("a", 100)])) == (False, False)
    assert flags(known.add("acme", [image("a", 100)])) == (True, False)
    assert flags(known.add("acme", [image("b", 100)])) == (False, False)
    assert flags(known.add("other", [image("x", 100)])) == (False, False)
    assert flags(known.add("acme", [image("c", 120)])) == (False, True)
    assert flags(known.add("acme", [image("d", 500)])) == (False, False)
    assert flags(known.add("acme", [image("e", 500, ImageKind.PHOTO)])) == (False, False)
    assert flags(known.add("acme", [image("d", 500)])) == (False, False)
