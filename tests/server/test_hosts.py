import httpx
import pytest

from server.app import create_app
from server.hosts import ANY, allowed_hosts
from server.settings import Settings
from tests.server.conftest import problem, running


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]:8000"])
def test_it_answers_to_its_own_names(client: httpx.Client, host: str) -> None:
    assert client.get("/livez", headers={"Host": host}).is_success


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", "127.0.0.1@x", ""])
@pytest.mark.parametrize("path", ["/livez", "/", "/bundle/manifest.json"])
def test_it_answers_to_no_others(client: httpx.Client, host: str, path: str) -> None:
    response = client.get(path, headers={"Host": host})
    assert f"Host: {host!r} is no name of this server" in problem(response, 400, "unknown-host")
    assert response.json()["where"] == "Host"
    assert response.headers["cross-origin-embedder-policy"] == "require-corp"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_names_may_be_added(settings: Settings) -> None:
    named = settings.model_copy(update={"allow_hosts": ("example.org", "*.example.net")})
    with running(create_app(named)) as client:
        for host in ("example.org", "a.example.net:80", "localhost"):
            assert client.get("/livez", headers={"Host": host}).is_success, host
        response = client.get("/livez", headers={"Host": "www.example.org"})
        assert "--allow-host" in problem(response, 400, "unknown-host")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_network_allows_any_name_until_one_is_given(host: str) -> None:
    assert allowed_hosts(Settings(host=host)) == (ANY,)
    assert ANY not in allowed_hosts(Settings(host=host, allow_hosts=("example.org",)))


@pytest.mark.parametrize(
    ("host", "name"), [("192.168.1.7", "192.168.1.7"), ("fd00::7", "[fd00::7]")]
)
def test_the_address_it_listens_on_is_a_name(host: str, name: str) -> None:
    assert name in allowed_hosts(Settings(host=host))
