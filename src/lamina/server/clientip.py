"""Whose request it is, behind a proxy or not (contract reductstore 1.8, last paragraph).

Only a peer in a private network may speak for others: a proxy is there, a client of the internet is not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

_LOCAL = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
]

FORWARDED = (b"forwarded", b"x-forwarded-for")


def client_ip(peer: str, fields: Mapping[bytes, bytes]) -> str:
    """The address of the client; `fields` are the request's headers by lower-case name.

    That is the peer; or, if the peer is local, the first address of `Forwarded: for=`, else the first item of
    `X-Forwarded-For`. What does not parse as an address is passed over.
    """
    if FORWARDED[0] not in fields and FORWARDED[1] not in fields:
        return peer
    if not _is_local(peer):
        return peer
    forwarded = fields.get(FORWARDED[0], b"").decode("latin-1")
    for hop in forwarded.split(","):
        for pair in hop.split(";"):
            name, _, value = pair.partition("=")
            if name.strip().lower() == "for":
                found = _address(value)
                if found:
                    return found
    first = fields.get(FORWARDED[1], b"").decode("latin-1").partition(",")[0]
    return _address(first) or peer


@lru_cache(maxsize=1024)  # proxies are few
def _is_local(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _LOCAL)


def _address(node: str) -> str:
    """The address of a node as proxies write it: 1.2.3.4, 1.2.3.4:80, "[::1]:80"; "" for anything else."""
    node = node.strip().strip('"').strip()
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        return str(ipaddress.ip_address(node))
    except ValueError:
        return ""
