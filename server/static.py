"""The bundle and the page as static files: types, caching, ranges."""

import os
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message, Receive, Scope, Send

from runtime.headers import cache_control, media_type


class RangeResponse(FileResponse):
    """A file, or the range of it that was asked for (RFC 9110, section 14)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the file; HTTPException instead of a bare 400 or 416."""

        async def refuse_bare_errors(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                length = Headers(raw=message["headers"]).get("content-range")
                raise HTTPException(
                    message["status"],
                    f"the range {Headers(scope=scope).get('range', '')!r} cannot be served",
                    headers={"Content-Range": length} if length else None,
                )
            await send(message)

        await super().__call__(scope, receive, refuse_bare_errors)


class Files(StaticFiles):
    """A folder in which files named by `hashed` never change.

    Hidden files (an exporter's unfinished ones) are not served, nor is anything outside.
    """

    def __init__(self, folder: Path, hashed: re.Pattern[str], *, html: bool = False) -> None:
        super().__init__(directory=folder, html=html, check_dir=False)
        self._folder = folder
        self._hashed = hashed

    async def check_config(self) -> None:
        """A folder that is not there (yet) answers 404 like any missing file."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file for `path`; none for a hidden one."""
        if any(part.startswith(".") for part in Path(path).parts):
            return "", None
        return super().lookup_path(path)

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The file with its media type and Cache-Control, or 304 if the client has it."""
        name = Path(full_path).relative_to(self._folder.resolve()).as_posix()
        response = RangeResponse(
            full_path,
            status_code=status_code,
            stat_result=stat_result,
            media_type=media_type(name),
            headers={"Cache-Control": cache_control(name, self._hashed)},
        )
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response
