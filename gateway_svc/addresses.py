"""Which IP addresses are on the public Internet: the only ones that the gateway fetches images from."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

_NETWORKS = (
    "192.88.99.0/24",  # relays of 6to4
    "2001::/23",  # protocol assignments, Teredo among them
    "2002::/16",  # 6to4, which carries an IPv4 address
    "3fff::/20",  # documentation
)
_SPECIAL = tuple(ipaddress.ip_network(network) for network in _NETWORKS)
_UNICAST = ipaddress.IPv6Network("2000::/3")


def is_public(text: str) -> bool:
    """Whether an address is global unicast. IPv6 addresses that carry an IPv4 address never are.

    NAT64, IPv4-mapped and IPv4-compatible addresses are outside of 2000::/3. Raises ValueError if the text is
    no address.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not _is_special(address)


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return True
    return any(address in network for network in _SPECIAL if network.version == address.version)
