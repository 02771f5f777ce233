import pytest
from pydantic import ValidationError

from runtime.errors import BrushletError
from server.settings import Settings, make_settings


def test_unknown_and_wrong_settings_are_all_told_at_once() -> None:
    with pytest.raises(BrushletError) as caught:
        make_settings(
            max_sde=9, port=99999, allow_origins=("example.org",), allow_hosts=("example.org:80",)
        )
    for key in ("max_sde: Extra inputs", "port: ", "allow_origins.0: ", "allow_hosts.0: "):
        assert key in str(caught.value)
    assert caught.value.where == "server settings"
    assert "--help" in caught.value.todo


@pytest.mark.parametrize("origin", ["*", "https://example.org", "http://127.0.0.1:5173"])
def test_origins_are_those_that_browsers_send(origin: str) -> None:
    assert make_settings(allow_origins=(origin,)).allow_origins == (origin,)


@pytest.mark.parametrize(
    "origin", ["example.org", "https://example.org/", "https://example.org/page", "ftp://a", "null"]
)
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    with pytest.raises(BrushletError, match=r"allow_origins\.0"):
        make_settings(allow_origins=(origin,))


@pytest.mark.parametrize("host", ["*", "example.org", "*.example.org", "192.168.0.2", "[::1]"])
def test_hosts_are_names_and_addresses(host: str) -> None:
    assert make_settings(allow_hosts=(host,)).allow_hosts == (host,)


@pytest.mark.parametrize("host", ["example.org:80", "https://example.org", "a.*.org", "::1", ""])
def test_a_port_or_a_scheme_is_no_part_of_a_host(host: str) -> None:
    with pytest.raises(BrushletError, match=r"allow_hosts\.0"):
        make_settings(allow_hosts=(host,))


def test_they_do_not_change_under_a_running_server() -> None:
    settings = make_settings(port=1)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 2  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
