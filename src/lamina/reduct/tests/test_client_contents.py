"""A body that comes in any pieces is cut into the contents of its records."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.reduct import ReductError, contents
from lamina.reduct.batch.heads import Head
from lamina.reduct.contents import KEPT_BYTES, StreamedRecord, record, records


class Answer:
    """An answer that comes in given pieces."""

    def __init__(self, pieces):
        self._pieces = pieces
        self.closed = False
        self.given = 0

    async def chunks(self):
        for piece in self._pieces:
            self.given += 1
            yield piece

    async def pieces(self):
        return self._pieces

    async def close(self):
        self.closed = True


def heads(sizes):
    return [Head("e", time_us, size, "t", {}) for time_us, size in enumerate(sizes)]


def cut(body, places):
    bounds = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [
        body[start:stop] if i % 2 else memoryview(body)[start:stop] for i, (start, stop) in enumerate(pairwise(bounds))
    ]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 99), max_size=8), st.booleans())
def test_contents_are_cut_alike_however_they_come(sizes, places, whole):
    wanted = [bytes([65 + i]) * size for i, size in enumerate(sizes)]

    async def main(monkeypatch):
        answer = Answer(cut(b"".join(wanted), places))
        monkeypatch.setattr(contents, "WHOLE_BYTES", 1000 if whole else -1)
        monkeypatch.setattr(contents, "KEPT_BYTES", 5)
        got = []
        async for found in records(answer, heads(sizes), True, bodies=True):
            got.append((found.timestamp, found.last, await found.read_all(), await found.read_all()))
        assert answer.closed
        assert got == [(i, i == len(sizes) - 1, content, content) for i, content in enumerate(wanted)]

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(main(monkeypatch))


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 99), max_size=8), st.data())
def test_long_contents_can_be_left_at_any_point(sizes, places, data):
    wanted = [bytes([65 + i]) * size for i, size in enumerate(sizes)]

    async def main(monkeypatch):
        monkeypatch.setattr(contents, "WHOLE_BYTES", -1)
        monkeypatch.setattr(contents, "KEPT_BYTES", 3)
        kept = []
        async for found in records(Answer(cut(b"".join(wanted), places)), heads(sizes), False, bodies=True):
            content = wanted[found.timestamp]
            n = data.draw(st.integers(1, 4))
            most = data.draw(st.integers(0, 3))
            got = []
            if most:
                async for piece in found.read(n):
                    got.append(piece)
                    if len(got) == most:
                        break
            assert got == [content[at : at + n] for at in range(0, len(content), n)][:most]
            kept.append((found, len(b"".join(got))))
        for found, taken in kept:
            content = wanted[found.timestamp]
            if isinstance(found, StreamedRecord) and taken < len(content):
                with pytest.raises(ReductError, match="was left unread"):
                    await found.read_all()
            elif not isinstance(found, StreamedRecord):
                assert await found.read_all() == content

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(main(monkeypatch))


def test_a_content_that_is_a_piece_of_its_own_is_not_copied():
    async def main():
        pieces = [b"x" * 100_000, b"y" * 200_000]
        got = [
            await found.read_all()
            async for found in records(Answer(pieces), heads([100_000, 200_000]), True, bodies=True)
        ]
        assert [one is other for one, other in zip(got, pieces, strict=True)] == [True, True]
        large = b"z" * (KEPT_BYTES + 1)
        assert await (await record(Answer([large]), heads([len(large)])[0], bodies=True)).read_all() is large

    asyncio.run(main())


def test_records_of_a_long_body_are_handed_out_while_the_next_are_on_their_way():
    async def main():
        answer = Answer([b"x" * 500_000] * 5)
        async for _ in records(answer, heads([500_000] * 5), True, bodies=True):
            assert answer.given == 1
            break

    asyncio.run(main())


def test_a_body_that_ends_early():
    async def main():
        for pieces in ([], [b"ab"]):
            with pytest.raises(ReductError, match="ended before its last record"):
                await anext(records(Answer(pieces), heads([3]), True, bodies=True))
        answer = Answer([b"x"])
        found = await record(answer, heads([KEPT_BYTES + 1])[0], bodies=True)
        with pytest.raises(ReductError, match="ended before"):
            await found.read_all()

    asyncio.run(main())


def test_without_contents_sizes_are_told_all_the_same():
    async def main():
        answer = Answer([])
        got = [
            (found.size, await found.read_all()) async for found in records(answer, heads([3, 9]), True, bodies=False)
        ]
        assert got == [(3, b""), (9, b"")]
        assert answer.closed

    asyncio.run(main())
