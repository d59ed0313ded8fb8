"""Errors as answers of the wire: `stat` as bytes.

A domain error is a gRPC success that carries `stat`; a gRPC status is only for keys and permissions, because clients
do not translate those.
"""

from __future__ import annotations

import logging

from lamina import errors
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service.codes import INTERNAL, RESOURCE_DEPLETED, known
from lamina.random import Random

log = logging.getLogger("lamina.btrdb")

_TEXT_LIMIT = 4000
"""Characters of a message; some errors repeat what the caller sent, which may be megabytes."""


def stat(code: int, text: str) -> bytes:
    """A whole response message that says only this: `stat` is field 1 of every response."""
    plain = text[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
    return pb.StatusResponse(stat=pb.Status(code=code, msg=plain)).SerializeToString()


def answer(error: Exception, random: Random) -> bytes:
    """The response to a call that failed.

    What the caller cannot do anything about (damaged data, a failed disk, a defect) is told by a random number only;
    the log has the number and the whole story. Paths and traces never leave the machine.
    """
    told = known(error)
    if told is not None:
        return stat(*told)
    number = random.token_bytes(6).hex()
    if isinstance(error, errors.Unavailable):
        log.warning("error %s: %s", number, error)
        return stat(RESOURCE_DEPLETED, f"not possible at present (error {number}): retry later")
    log.error("error %s: %s", number, error, exc_info=error)
    damaged = isinstance(error, errors.Corrupt)
    what = "stored data is damaged" if damaged else "internal error"
    return stat(INTERNAL, f"{what}; the server's log tells more under {number}")
