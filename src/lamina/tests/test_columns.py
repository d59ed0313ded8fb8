import numpy as np
import pytest

from lamina.columns import FIRST_ROOM, Ranges, Samples, Summaries


def test_what_little_is_gathered_holds_no_more_memory_than_it_needs():
    found = Samples.gathered(iter([Samples(np.arange(n), np.zeros(n)) for n in (1000, 10)]))
    assert len(found) == 1010
    assert all(column.base is None for column in (found.time, found.value))


@pytest.mark.parametrize("lengths", [[], [0], [3], [0, 0], [1, 0, 2], [1] * (FIRST_ROOM + 1), [2, 1, 500, 1, 0, 9000]])
@pytest.mark.parametrize("kind", [Samples, Summaries, Ranges])
def test_parts_that_come_one_by_one_are_as_those_at_once(kind, lengths):
    parts, n = [], 0
    for length in lengths:
        parts.append(kind(*(np.arange(n, n + length).astype(letter) for letter in kind._types)))
        n += length
    whole, found = kind.concat(parts), kind.gathered(iter(parts))
    assert found == whole
    assert [getattr(found, name).dtype for name in kind.fields] == [np.dtype(letter) for letter in kind._types]
