"""What goes wrong: one class, with the status and the message of ReductStore's HTTP API."""

from __future__ import annotations

UNREACHABLE = -1
"""Status of what no ReductStore answered: no connection, one that broke, a closed client, a directory in use."""


class ReductError(Exception):
    """A request that was refused, or could not be made. Two errors are equal if status and message are."""

    def __init__(self, code: int, message: str) -> None:
        self._code = code
        self._message = message
        super().__init__(f"Status {code}: {message}")

    @staticmethod
    def from_header(header: str) -> ReductError:
        """Of `<status>,<message>`, as answers to batches say it per record. Raises ValueError."""
        code, comma, message = header.partition(",")
        if not comma:
            raise ValueError(f"error header {header!r}: expected '<status>,<message>'")
        return ReductError(int(code), message)

    @property
    def status_code(self) -> int:
        """The HTTP status; -1 where there was no answer (`UNREACHABLE`)."""
        return self._code

    @property
    def message(self) -> str:
        """What the server says, or what there is to say without one."""
        return self._message

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReductError):
            return NotImplemented
        return (self._code, self._message) == (other._code, other._message)

    def __hash__(self) -> int:
        return hash((self._code, self._message))

    def __reduce__(self) -> tuple[type[ReductError], tuple[int, str]]:
        return ReductError, (self._code, self._message)
