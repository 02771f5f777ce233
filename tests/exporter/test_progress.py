import pytest

from exporter.progress import showing, silent


def test_stages_may_lie_in_one_another_and_errors_pass() -> None:
    with showing() as step:
        with step("outer", 2) as advance, step("inner", 1) as other:
            advance()
            other()
        with pytest.raises(KeyError), step("broken", 3):
            raise KeyError


def test_silence_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with silent("tracing", 2) as advance:
        advance()
    assert capfd.readouterr() == ("", "")
