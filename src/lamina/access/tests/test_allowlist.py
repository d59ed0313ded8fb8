"""Which addresses a list admits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.access.allowlist import AllowList


@pytest.mark.parametrize(
    ("entry", "address", "admitted"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.7/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/32", "10.0.0.0", True),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "203.0.113.9", False),
        ("::/0", "2001:db8::1", True),
        ("::1", "::1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("2001:DB8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/255.0.0.0", "10.0.0.1", False),
        ("10.0.0.0/33", "10.0.0.1", False),
        ("10.0.0", "10.0.0.1", False),
        ("010.0.0.1", "10.0.0.1", False),
        (" 10.0.0.1", "10.0.0.1", False),
        ("10.0.0.1\n", "10.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("*", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("0.0.0.0/0", "not an address", False),
        ("0.0.0.0/0", "10.0.0.1:80", False),
    ],
)
def test_an_entry_admits(entry, address, admitted):
    assert AllowList([entry]).admits(address) is admitted
    assert AllowList(["malformed", entry, "192.0.2.1"]).admits(address) is admitted


@given(st.text(max_size=20), st.text(max_size=20) | st.ip_addresses().map(str))
def test_any_texts_are_answered(entry, address):
    assert AllowList([entry]).admits(address) in (True, False)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 32))
def test_a_block_admits_what_shares_its_first_bits(block, address, bits):
    shared = int(block) >> (32 - bits) == int(address) >> (32 - bits)
    assert AllowList([f"{block}/{bits}"]).admits(str(address)) is shared
