"""`lamina.connect` to a whole server, as `lamina serve` makes it: base path, TLS, tokens, its end."""

from __future__ import annotations

import httpx
import pytest
import trustme

import lamina
from lamina import errors
from lamina.server.tests.running import config, server


@pytest.fixture
def authority(tmp_path):
    made = trustme.CA()
    certificate = made.issue_cert("127.0.0.1")
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(tmp_path / "cert.pem"), append=True)
    return tmp_path


def test_both_protocols_of_one_port_see_the_same_data(tmp_path):
    with server(config(tmp_path / "db", api_base="/base/")) as running:
        url = f"http://{running.addresses.http}/base"
        with lamina.connect(url) as db:
            assert db.path == f"{url}/"
            db.buckets.create("b").entry("e").write(b"x", 1)
            assert httpx.get(f"{url}/api/v1/b/b/e").content == b"x"
        with pytest.raises(errors.InvalidArgument, match="is it a server of Lamina's"):
            lamina.connect(f"http://{running.addresses.http}")
    assert running.exit_code == 0
    with lamina.open(tmp_path / "db") as db:
        assert db.buckets["b"].entry("e").read().read() == b"x"


def test_tls_is_checked(authority):
    settings = config(cert=str(authority / "cert.pem"), cert_key=str(authority / "key.pem"), api_token="secret")
    with server(settings) as running:
        url = f"https://{running.addresses.http}"
        with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            lamina.connect(url, "secret")
        for verify in (str(authority / "ca.pem"), False):
            with lamina.connect(url, "secret", verify=verify) as db:
                assert db.streams.create("c", repr(verify)[-20:]).insert([1], [1.0]) == 11
        with pytest.raises(errors.Unauthenticated):
            lamina.connect(url, verify=False)
        with pytest.raises(errors.InvalidArgument, match="verify"):
            lamina.connect(url, verify=str(authority / "nothing.pem"))


def test_a_server_that_ends_closes_what_clients_have_open(tmp_path):
    with server(config(tmp_path / "db")) as running:
        db = lamina.connect(f"http://{running.addresses.http}")
        stream = db.streams.create("c", "s")
        view, follower = stream.at(), db.streams.subscribe([stream.uuid])
    assert running.exit_code == 0
    for call in (view.count, stream.count, lambda: follower.get(1)):
        with pytest.raises(errors.Unavailable, match="cannot be reached"):
            call()
    db.close()
    view.close()
    follower.close()
