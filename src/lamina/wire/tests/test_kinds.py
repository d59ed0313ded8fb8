from uuid import UUID

import pytest

from lamina import errors
from lamina.errors import InvalidArgument, LaminaError
from lamina.wire import failures, kinds
from lamina.wire.calls import CALLS, OBJECTS

RIGHT = [
    (kinds.INT, 5, 5),
    (kinds.OPTIONAL_INT, None, None),
    (kinds.SCALAR, "x", "x"),
    (kinds.SECONDS, 1.5, 1.5),
    (kinds.UUID_KIND, "00000000-0000-0000-0000-000000000005", UUID(int=5)),
    (kinds.BUCKET, [5, "b"], (5, "b")),
    (kinds.MARK, [1, 2, 3, 4], (1, 2, 3, 4)),
    (kinds.FILTERS, {"a": None, "b": "c"}, {"a": None, "b": "c"}),
    (kinds.LABEL_CHANGES, [["e", 1, {"a": "b"}]], [("e", 1, {"a": "b"})]),
    (kinds.PLACES, [["e", 1]], [("e", 1)]),
    (kinds.LABEL_SETS, [{}, {"a": "b"}], [{}, {"a": "b"}]),
]


@pytest.mark.parametrize(("kind", "given", "expected"), RIGHT, ids=lambda value: getattr(value, "name", None))
def test_values_are_read(kind, given, expected):
    assert kinds.read("object/method", "parameter", kind, given) == expected


WRONG = [
    (kinds.INT, True),
    (kinds.INT, 1.0),
    (kinds.TEXT, None),
    (kinds.FLAG, 1),
    (kinds.UUID_KIND, "x" * 36),
    (kinds.UUID_KIND, "00000000000000000000000000000005"),
    (kinds.BUCKET, [True, "b"]),
    (kinds.MARK, [1, 2, 3, 1 << 64]),
    (kinds.MARKS, [[1, 2, 3, 4]] * (kinds.MOST_MARKS + 1)),
    (kinds.CAPACITY, kinds.MOST_MAIL + 1),
    (kinds.FILTERS, {"a": 1}),
    (kinds.MEMBERS, {"a": []}),
    (kinds.PLACES, [["e"]]),
    (kinds.TEXTS, "abc"),
]


@pytest.mark.parametrize(("kind", "given"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_no_value_is_refused_with_what_was_expected(kind, given):
    with pytest.raises(InvalidArgument, match=r"^object/method: parameter .*: expected ") as refused:
        kinds.read("object/method", "parameter", kind, given)
    assert len(str(refused.value)) < 600


def test_the_table_is_whole():
    for name, call in CALLS.items():
        object, _, method = name.partition("/")
        assert call.name == name
        assert call.parameters[: len(OBJECTS[object])] == OBJECTS[object]
        assert len({parameter.name for parameter in call.parameters}) == len(call.parameters)
        assert method
        assert not (call.safe and call.body != "none"), "a payload is sent once"


@pytest.mark.parametrize("kind", failures.KINDS.values(), ids=lambda kind: kind.__name__)
def test_errors_are_revived_as_what_they_were(kind):
    error = failures.decode(failures.encode(kind("the text")))
    assert type(error) is kind
    assert str(error) == "the text"


def test_an_error_of_one_floor_goes_as_what_it_is_a_kind_of():
    class Fussy(errors.QuotaExceeded):
        pass

    assert failures.name_of(Fussy("x")) == "QuotaExceeded"
    assert type(failures.decode(b'{"error": "OfTheFuture", "message": "m"}')) is LaminaError
    for body in (b"", b"x", b"[]", b"{}", b'{"detail": "x"}'):
        assert failures.decode(body) is None
