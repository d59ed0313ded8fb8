"""`lamina.connect`."""

from __future__ import annotations

import ssl

from lamina.errors import Unauthenticated
from lamina.remote.database import Database

TIMEOUT_S = 120.0


def connect(
    url: str,
    token: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    verify: bool | str | ssl.SSLContext = True,
) -> Database:
    """The database of a server (`lamina serve`) as if it were in this process: `http://HOST:PORT` or `https://...`.

    `token`: an API token, where the server asks for one. `timeout_s`: how long to wait for the next bytes of an answer;
    calls that may take minutes, such as `compact`, wait as long as it takes. `verify`: False, a file of certificates or
    an ssl.SSLContext, for https. Close what is returned, or use `with`. Thread-safe.

    Raises InvalidArgument (url, or no server of Lamina's there), Unavailable (nobody answers), Unauthenticated;
    ModuleNotFoundError names the extra lamina[client]. Cost: one round trip.
    """
    from lamina.columns import library

    library("httpx", "client")
    library("pyarrow", "client")
    from lamina.remote.link import Link

    link = Link(url, token, timeout_s=timeout_s, verify=verify)
    try:
        told = link.hello()
    except Unauthenticated as error:
        link.close()
        if token is not None:
            raise
        raise Unauthenticated(f"{link.url} asks for a token: lamina.connect(url, token=...)") from error
    except BaseException:
        link.close()
        raise
    return Database(link, bytes.fromhex(told["id"]))
