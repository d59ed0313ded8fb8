"""What every Blobs must do, as a pytest class: subclass it and supply the fixture `blobs`, an empty store."""

from __future__ import annotations

import threading

import pytest

from lamina.errors import AlreadyExists, Corrupt, InvalidArgument, NotFound
from lamina.storage.blobs import Blobs


def put(blobs: Blobs, name: str, content: bytes) -> None:
    """A finished object with this content."""
    writer = blobs.create(name)
    writer.append((content,))
    writer.finish()


class BlobsContract:
    @pytest.fixture
    def blobs(self) -> Blobs:
        raise NotImplementedError("the subclass supplies the blobs")

    def test_appended_parts_become_one_object(self, blobs: Blobs) -> None:
        writer = blobs.create("k/a")
        writer.append((b"abc", memoryview(b"def")))
        part = bytearray(b"ghi")
        writer.append((part,))
        part[:] = b"XXX"
        writer.finish()
        assert blobs.size("k/a") == 9
        assert blobs.read("k/a", [(0, 9)]) == [b"abcdefghi"]

    def test_ranges_are_answered_in_the_order_asked(self, blobs: Blobs) -> None:
        put(blobs, "k/a", bytes(range(100)))
        assert blobs.read("k/a", [(90, 10), (0, 2), (5, 0), (1, 2)]) == [
            bytes(range(90, 100)),
            b"\0\1",
            b"",
            b"\1\2",
        ]
        assert blobs.read("k/a", []) == []

    def test_empty_object_is_an_object(self, blobs: Blobs) -> None:
        blobs.create("k/a").finish()
        assert blobs.size("k/a") == 0
        assert [info.size for info in blobs.list("")] == [0]

    def test_unknown_name_is_not_found(self, blobs: Blobs) -> None:
        put(blobs, "k/a", b"x")
        for name in ("k/b", "j/a", "k", "k/a/b"):
            with pytest.raises(NotFound):
                blobs.read(name, [(0, 1)])
        with pytest.raises(NotFound, match="k/b"):
            blobs.size("k/b")

    @pytest.mark.parametrize("extent", [(0, 11), (10, 1), (11, 0), (-1, 3), (3, -1), (1 << 40, 1)])
    def test_range_that_is_not_inside_the_object_is_corrupt(self, blobs: Blobs, extent: tuple[int, int]) -> None:
        put(blobs, "k/a", b"0123456789")
        with pytest.raises(Corrupt, match="k/a"):
            blobs.read("k/a", [(0, 1), extent])

    def test_nothing_is_visible_before_finish(self, blobs: Blobs) -> None:
        writer = blobs.create("k/a")
        writer.append((b"abc",))
        assert list(blobs.list("")) == []
        with pytest.raises(NotFound):
            blobs.size("k/a")
        writer.finish()
        assert [tuple(info) for info in blobs.list("")] == [("k/a", 3)]

    def test_abort_leaves_nothing_and_frees_the_name(self, blobs: Blobs) -> None:
        writer = blobs.create("k/a")
        writer.append((b"abc",))
        writer.abort()
        writer.abort()
        assert list(blobs.list("")) == []
        put(blobs, "k/a", b"x")
        assert blobs.read("k/a", [(0, 1)]) == [b"x"]

    def test_abort_after_a_finish_that_succeeded_changes_nothing(self, blobs: Blobs) -> None:
        writer = blobs.create("k/a")
        writer.finish()
        writer.abort()
        assert blobs.size("k/a") == 0

    def test_name_is_used_once(self, blobs: Blobs) -> None:
        put(blobs, "k/a", b"x")
        with pytest.raises(AlreadyExists, match="k/a"):
            blobs.create("k/a")
        assert blobs.read("k/a", [(0, 1)]) == [b"x"]

    def test_deleted_object_is_gone_and_deleting_again_is_fine(self, blobs: Blobs) -> None:
        put(blobs, "k/a", b"x")
        assert blobs.size("k/a") == 1
        blobs.delete("k/a")
        blobs.delete("k/a")
        blobs.delete("never/was")
        with pytest.raises(NotFound):
            blobs.read("k/a", [(0, 1)])
        assert list(blobs.list("")) == []

    def test_list_gives_names_with_the_prefix_in_name_order(self, blobs: Blobs) -> None:
        names = ["a", "k/0a/1.seg", "k/0a/2.seg", "k/0b/0.seg", "k-1/x", "k.x", "meta/00/1.seg"]
        for name in reversed(names):
            put(blobs, name, name.encode())
        assert [info.name for info in blobs.list("")] == sorted(names)
        assert [info.name for info in blobs.list("k/")] == ["k/0a/1.seg", "k/0a/2.seg", "k/0b/0.seg"]
        assert [info.name for info in blobs.list("k/0a/2")] == ["k/0a/2.seg"]
        assert [info.name for info in blobs.list("k")] == [n for n in sorted(names) if n[0] == "k"]
        assert list(blobs.list("nothing")) == []
        assert all(info.size == len(info.name) for info in blobs.list(""))

    def test_names_that_leave_the_store_are_refused(self, blobs: Blobs) -> None:
        for name in ("../x", "/x", "", "a//b"):
            with pytest.raises(InvalidArgument):
                blobs.create(name)

    def test_many_threads_read_while_objects_are_deleted(self, blobs: Blobs) -> None:
        names = [f"k/{n}" for n in range(8)]
        for name in names:
            put(blobs, name, name.encode() * 100)
        wrong: list[object] = []

        def work() -> None:
            for _ in range(20):
                for name in names:
                    try:
                        if blobs.read(name, [(0, 3), (297, 3)]) != [name.encode()] * 2:
                            wrong.append(name)
                    except NotFound:
                        pass  # deleted already
                    except BaseException as error:
                        wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for name in names[::2]:
            blobs.delete(name)
        for thread in threads:
            thread.join()
        assert wrong == []
        assert [info.name for info in blobs.list("")] == names[1::2]
