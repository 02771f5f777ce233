"""A site's headers for those who serve it: `_headers` and `nginx.conf`."""

from collections.abc import Iterable

from runtime.headers import (
    BUNDLE_HASHED,
    IMMUTABLE,
    MEDIA_TYPES,
    PAGE_HASHED,
    REVALIDATE,
    cache_control,
    common_headers,
    media_type,
)

HEADERS_NAME = "_headers"
NGINX_NAME = "nginx.conf"
BUNDLE = "bundle/"

_KNOWN = (".css", ".html", ".ico", ".jpeg", ".jpg", ".js", ".json", ".png", ".svg", ".txt", ".webp")
"""Suffixes whose types every host knows."""


def cached(url: str) -> str:
    """Cache-Control of a file, by its path on the site."""
    if url.startswith(BUNDLE):
        return cache_control(url.removeprefix(BUNDLE), BUNDLE_HASHED)
    return cache_control(url, PAGE_HASHED)


def static_headers(urls: Iterable[str], allow_origin: str) -> str:
    """`_headers`, as Cloudflare Pages and Netlify read it.

    They join the values of a header that two matching rules set, and know one `*` per rule. So no
    two rules here set the same header for one file, and a rule stands for all files of one stem:
    another style changes nothing here.
    """
    rules = {"/*": _answer_headers(allow_origin)}
    styles = ("pack-.safetensors", "thumb-.png", "example-.webp")
    for url in sorted([*urls, *(f"{BUNDLE}styles/{name}" for name in styles)]):
        pattern = _pattern(url)
        immutable = cached(url) == IMMUTABLE or "*" in pattern
        rules[pattern] = {"Cache-Control": IMMUTABLE if immutable else REVALIDATE}
        if not url.endswith(_KNOWN) and not pattern.endswith("/*"):
            rules[pattern]["Content-Type"] = media_type(url)
    rules["/"] = {"Cache-Control": REVALIDATE}  # index.html by its other name
    lines = ["# Cloudflare Pages, Netlify. Written by `make dist`; changes here are lost."]
    for pattern, headers in rules.items():
        lines += [pattern, *(f"  {name}: {value}" for name, value in headers.items())]
    return "\n".join(lines) + "\n"


def nginx_snippet(allow_origin: str) -> str:
    """`nginx.conf`, to be included in a server block or a location."""
    types = "\n".join(
        f'    "{kind}" {suffix[1:]};' if ";" in kind else f"    {kind} {suffix[1:]};"
        for suffix, kind in ((suffix, _typed(kind)) for suffix, kind in MEDIA_TYPES.items())
    )
    headers = "\n".join(
        f'add_header {name} "{value}" always;'
        for name, value in _answer_headers(allow_origin).items()
    )
    page = PAGE_HASHED.pattern.removeprefix("^")
    return f"""\
# A brushlet site for nginx. Written by `make dist`; changes here are lost.
#
#   server {{
#       listen 443 ssl;
#       server_name styles.example;
#       root /srv/styles;                  # where this folder lies
#       include /srv/styles/nginx.conf;
#   }}

index index.html;
etag on;
default_type application/octet-stream;
types {{
{types}
}}

gzip_static on;
gzip_vary on;
# brotli_static on;  # with libnginx-mod-http-brotli-static

{headers}

# Only names that change with the content are kept without asking. No `always`: not a 404.
set $brushlet_cache "{REVALIDATE}";
if ($uri ~ "/({BUNDLE}.*{BUNDLE_HASHED.pattern.removesuffix("$")}|{page.removesuffix("$")})$") {{
    set $brushlet_cache "{IMMUTABLE}";
}}
add_header Cache-Control $brushlet_cache;

# Unfinished files, and what is meant for the host.
if ($uri ~ "/(\\.(?!well-known/)|({HEADERS_NAME}|{NGINX_NAME.replace(".", "[.]")})$)") {{
    return 404;
}}
"""


def _answer_headers(allow_origin: str) -> dict[str, str]:
    headers = common_headers(shared=bool(allow_origin))
    if allow_origin:
        headers["Access-Control-Allow-Origin"] = allow_origin
    return headers


def _typed(kind: str) -> str:
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _pattern(url: str) -> str:
    """`/bundle/weights-*` for `bundle/weights-0f3c….bin`; `/assets/*`; else the file alone."""
    folder, _, name = url.rpartition("/")
    if folder == "assets":
        return f"/{folder}/*"
    if url.startswith(BUNDLE) and "-" in name:
        return f"/{folder}/{name.split('-')[0]}-*"
    return f"/{url}"
