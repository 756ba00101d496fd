"""What a worker says: events are heard, a plug-in's own prints are not taken for them."""

import pytest

from bakeoff.execute.runner import _event


@pytest.mark.parametrize("line", ["hello\n", "", "3\n", "[]\n", "{}\n", '{"event": 3}\n', '{"event":', "[" * 100_000])
def test_what_is_no_event_is_a_print(line: str) -> None:
    assert _event(line) == {"event": "print"}


def test_an_event_is_an_event() -> None:
    assert _event('{"event": "step", "step": 3, "loss": "nan"}\n') == {"event": "step", "step": 3, "loss": "nan"}
