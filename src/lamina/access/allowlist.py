"""Client addresses a token may be used from (contract reductstore 13)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_BLOCK = re.compile(r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?")
"""ipaddress also reads netmasks, which the contract does not know."""


class AllowList:
    """Addresses and CIDR blocks, IPv4 and IPv6. What is neither matches nothing, and does not open the list."""

    __slots__ = ("_blocks",)

    def __init__(self, entries: Sequence[str]) -> None:
        self._blocks = [block for block in map(_block, entries) if block is not None]

    def admits(self, client_ip: str) -> bool:
        """Whether an address is in one of the blocks; False for what is no address. An IPv4 address inside IPv6
        (::ffff:10.0.0.1, as sockets for both report it) counts as the IPv4 address too."""
        import ipaddress

        try:
            address = ipaddress.ip_address(client_ip)
        except ValueError:
            return False
        forms: list[IPv4Address | IPv6Address] = [address]
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            forms.append(address.ipv4_mapped)
        return any(form in block for form in forms for block in self._blocks)


def _block(entry: str) -> IPv4Network | IPv6Network | None:
    import ipaddress

    if not _BLOCK.fullmatch(entry):
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)  # 10.0.0.7/8 is the block of 10.0.0.0/8
    except ValueError:
        return None
