"""The native face in front of another one."""

import asyncio

import lamina
from lamina.server.config import Config
from lamina.server.native import open_native
from lamina.testing.clock import ManualClock


class Other:
    """A face that takes whole requests."""

    def __init__(self):
        self.asked = []

    async def __call__(self, scope, receive, send):
        self.asked.append(scope["path"])

    def take(self, scope, memo, body, reply):
        self.asked.append(body)
        return True


class Jobs:
    observer = None


def test_whole_requests_of_the_other_face_go_its_short_way_and_other_paths_to_it():
    """Writes over HTTP cost half as much again if this is lost, and nothing else shows it."""

    async def main():
        with lamina.open(":memory:", clock=ManualClock()) as db:
            other = Other()
            async with open_native(db, None, Config(path=":memory:"), Jobs(), other) as face:
                assert face.take({"path": "/api/v1/b/x/e"}, {}, b"body", None)
                await face({"path": "/api/v1/info"}, None, None)
                assert other.asked == [b"body", "/api/v1/info"]

    asyncio.run(main())
