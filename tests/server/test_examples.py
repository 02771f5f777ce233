"""The examples on the OpenAPI page are run as they stand there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import TypeAdapter

from runtime.manifest import Style
from server import examples
from server.jobs import EncodeRequest
from server.painting import DrawRequest
from server.problems import Problem
from server.routes import Alive, Ready
from tests.server.conftest import picture

JSON = {
    "/v1/encode": TypeAdapter[Any](EncodeRequest),
    "/v1/txt2img": TypeAdapter[Any](DrawRequest),
    "/v1/styles": TypeAdapter[Any](list[Style]),
    "/livez": TypeAdapter[Any](Alive),
    "/readyz": TypeAdapter[Any](Ready),
}


def json_example(page: dict[str, Any], content: dict[str, Any]) -> Any:
    """The media type's own example, else its schema's."""
    media = content["application/json"]
    if "example" in media:
        return media["example"]
    return page["components"]["schemas"][Path(media["schema"]["$ref"]).name]["examples"][0]


def test_every_operation_has_an_example_that_holds(client: httpx.Client) -> None:
    page = client.get("/openapi.json").json()
    for path, methods in page["paths"].items():
        for operation in methods.values():
            request = operation.get("requestBody")
            content = (request or operation["responses"]["200"])["content"]
            if request:
                assert re.search(f"curl .*{path}\\b", request["description"], re.DOTALL), path
            if "application/json" in content:
                example = json_example(page, content)
                validated = JSON[path].validate_python(example)
                assert (
                    JSON[path].dump_python(validated, mode="json", exclude_none=True) == example
                ), path
            else:
                assert request, path
    example = page["components"]["schemas"]["Problem"]["examples"][0]
    assert Problem.model_validate(example).model_dump() == example


def code(text: str, language: str, client: httpx.Client) -> str:
    block = re.search(f"```{language}\n(.*?)```", text, re.DOTALL)
    assert block
    assert "http://127.0.0.1:8000" in block[1]
    return block[1].replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/"))


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_lines_work(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "castle.png").write_bytes(picture("png"))
    for text in (examples.ENCODE, examples.ENCODE_IMAGE, examples.DECODE, examples.TXT2IMG):
        ended = subprocess.run(
            ["sh", "-c", code(text, "sh", client)], cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "prompt.safetensors").stat().st_size > 0
    with Image.open(tmp_path / "picture.png") as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (64, 48))
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (64, 64))


def test_the_python_lines_work(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "castle.png").write_bytes(picture("png"))
    monkeypatch.chdir(tmp_path)
    exec(code(examples.DECODE, "python", client), {})
    with Image.open("picture.webp") as drawn:
        assert (drawn.format, drawn.size) == ("WEBP", (64, 48))
