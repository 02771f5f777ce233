"""What the server serves, where, and how much of it at once."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import BrushletError

Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/\s]+)$")]
Host = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$")]


class Settings(BaseModel):
    """Settings of one server; an unknown key or a bad value is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    bundle: Path = Path("dist")
    """Folder with a manifest.json, as the exporter writes it."""
    page: Path = Path("web/dist")
    """Folder with the built page."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every network this machine is in."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    allow_origins: tuple[Origin, ...] = ()
    """Other sites whose pages may call this server, for example https://example.org; may be given
    several times."""
    allow_hosts: tuple[Host, ...] = ()
    """Other names this server has, without a port: example.org, *.example.org, or * for any; may
    be given several times."""

    workers: int = Field(default=2, ge=1, le=64)
    """Requests computed at the same time; onnxruntime uses every core for each."""
    queue: int = Field(default=16, ge=0)
    """Requests that may wait for a worker; more are told to come back later."""
    draw_queue: int = Field(default=4, ge=0)
    """Pictures of /v1/txt2img that may wait; they are drawn one at a time."""
    retry_seconds: int = Field(default=2, ge=1)
    """When those that were told so should come back."""
    shutdown_seconds: int = Field(default=10, ge=0)
    """How long running requests may take to end when the server is stopped."""
    connections: int = Field(default=128, ge=2)
    """Connections held at the same time, idle ones too; uvicorn answers more with a bare 503."""
    body_seconds: int = Field(default=60, ge=1)
    """How long the body of a request may take to arrive."""

    max_prompt_bytes: int = Field(default=64 * 1024, ge=1)
    """Largest body of /v1/encode and /v1/txt2img."""
    max_latents_bytes: int = Field(default=8 * 1024 * 1024, ge=1)
    """Largest body of /v1/decode."""
    max_image_bytes: int = Field(default=20 * 1024 * 1024, ge=1)
    """Largest body of /v1/encode-image."""
    max_side: int = Field(default=1024, ge=8)
    """Longest side in pixels of a picture, in or out."""
    max_steps: int = Field(default=50, ge=1)
    """Most steps of a picture of /v1/txt2img."""


def make_settings(**values: object) -> Settings:
    """Checks `values` and makes the settings; BrushletError names every wrong key."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
        ]
        raise BrushletError(
            "; ".join(faults),
            where="server settings",
            todo="`python -m server --help` lists them",
        ) from None
