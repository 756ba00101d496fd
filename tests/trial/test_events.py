"""What a worker says: events are heard, a plug-in's own prints are not taken for them."""

import pytest

from bakeoff.trial.events import OF_WORKERS, Event, Probing, Started, Stepped, heard, say


@pytest.mark.parametrize(
    "line",
    [
        *("hello\n", "", "3\n", "[]\n", "{}\n", '{"event": 3}\n', '{"event":', "[" * 100_000),
        *(
            '{"event": "Stepped"}\n',
            '{"event": "Stepped", "step": 1, "loss": 2, "more": 3}\n',
            '{"event": "Measured"}\n',
        ),
    ],
)
def test_what_is_no_event_is_not_heard(line: str) -> None:
    assert heard(line) is None


@pytest.mark.parametrize("event", [Started(0, 9), Stepped(3, "nan"), Stepped(3, 0.5), Probing("step_time")])
def test_what_is_said_is_heard(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    say(event)
    assert heard(capsys.readouterr().out) == event and type(event).__name__ in OF_WORKERS
