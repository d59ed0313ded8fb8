"""What measurements may be called."""

import pytest

from lamina.errors import InvalidArgument
from lamina.points.names import check_measurement_name


@pytest.mark.parametrize("name", ["", "m", "with,comma \r\n\0", "ü" * 512, "x" * 1024])
def test_any_text_is_a_name(name: str) -> None:
    assert check_measurement_name(name) == name


@pytest.mark.parametrize(
    ("name", "message"), [("x" * 1025, "has 1025 bytes"), ("\udc80", "surrogate"), (5, "5: expected a str")]
)
def test_what_is_none_is_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check_measurement_name(name)
