"""API reference at /docs: Swagger UI from local files, with a policy against framing and foreign scripts.

A page that framed it could use the clicks of a visitor to publish (clickjacking), and for the browser those requests
would come from the reference page itself.
"""

import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from factwire.api.http.authorization import Rule
from factwire.api.http.routing import RULE, new_router

router = new_router("reference")

FILES = "/static-offline-docs"
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

PAGE = bytes(
    get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Factwire - Swagger UI",
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{FILES}/favicon.png",
    ).body
)


def hash_of(script: bytes) -> str:
    """Source expression of a Content-Security-Policy that allows one inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(map(hash_of, INLINE_SCRIPT.findall(PAGE)))}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@router.get("/docs", include_in_schema=False, openapi_extra={RULE: Rule.OPEN})
async def docs(request: Request) -> Response:
    return Response(PAGE, 200, HEADERS, "text/html")


def files() -> Mount:
    """The scripts and styles of the page, from a package that contains them."""
    directory = Path(fastapi_offline.__file__).parent / "static"
    return Mount(FILES, StaticFiles(directory=directory), name="reference files")
