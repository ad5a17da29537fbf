"""The routes of the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from u2cut.errors import U2cutError, UsageError
from u2cut.imaging.formats import Format
from u2cut.options import OutputOptions, RenderOptions
from u2cut.service import fields, urls
from u2cut.service.cutter import Cutter, Done, Order
from u2cut.service.guard import Guard
from u2cut.service.metrics import Metrics
from u2cut.service.options import Compat, ServeOptions
from u2cut.service.problems import Refused, problem, refused
from u2cut.version import __version__

_TYPES: Final = {
    Format.PNG: "image/png",
    Format.WEBP: "image/webp",
    Format.TIFF: "image/tiff",
    Format.AVIF: "image/avif",
    Format.JPG: "image/jpeg",
}
_PAGE: Final = files("u2cut.service") / "page"
_PAGE_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/zip.js": ("zip.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}


@dataclass
class Service:
    """What the routes share.

    Attributes:
        options: The service's own.
        render: How results look, unless a request says otherwise.
        output: How they are written, unless a request says otherwise.
        cutter: What cuts photos out.
        metrics: What is counted.
        ready: Whether new requests are welcome.
    """

    options: ServeOptions
    render: RenderOptions
    output: OutputOptions
    cutter: Cutter
    metrics: Metrics
    ready: bool = field(default=False)

    async def cut(self, order: Order, request: Request) -> Done:
        """Make what was ordered, within the time limit.

        Raises:
            Refused: It can't be done, or took too long.
        """
        try:
            async with asyncio.timeout(self.options.timeout):
                return await self.cutter.cut(order, request.is_disconnected)
        except TimeoutError as e:
            raise Refused(504, "timeout", "this photo took too long") from e
        except U2cutError as e:
            raise refused(e) from e

    async def download(self, url: str) -> bytes:
        """Fetch a photo by its address, where that is allowed.

        Raises:
            Refused: It isn't, or it can't be had.
        """
        if not self.options.allow_urls:
            raise Refused(403, "urls_not_allowed", "this service fetches no addresses")
        options = self.options
        return await asyncio.to_thread(
            urls.fetch, url, most=options.max_body, seconds=options.timeout
        )


@dataclass
class Form:
    """A request's fields, by name, and its files."""

    fields: dict[str, str]
    files: dict[str, bytes]


async def read_form(request: Request, *, raw: str) -> Form:
    """Read a request: multipart, urlencoded, JSON, or a picture alone.

    Args:
        request: The request; its query's fields count, too.
        raw: The name that a picture alone gets.

    Raises:
        Refused: The body is broken.
    """
    named = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            body = await request.json()
            named |= {str(k): _as_text(v) for k, v in dict(body).items() if v is not None}
        except (ValueError, TypeError) as e:
            raise Refused(400, "usage", "the body isn't a JSON object") from e
        return Form(named, {})
    if kind != "multipart/form-data":
        data = await request.body()
        if kind == "application/x-www-form-urlencoded" and data[:64].isascii():
            return Form(named | dict(parse_qsl(data.decode(), keep_blank_values=True)), {})
        # curl --data-binary calls a picture urlencoded, too.
        return Form(named, {raw: data} if data else {})
    found: dict[str, bytes] = {}
    try:
        # Fields may hold pictures in base64: the guard limits all of them together.
        form = await request.form(max_files=4, max_fields=100, max_part_size=1 << 30)
    except (MultiPartException, HTTPException) as e:
        raise Refused(400, "usage", f"the form is broken: {e}") from e
    async with request.form(max_part_size=1 << 30):
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                found[name] = await value.read()
            else:
                named[name] = value
    return Form(named, found)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def picture(done: Done, more: dict[str, str] | None = None) -> Response:
    """Return a finished picture with its size and timings in headers."""
    timing = ", ".join(f"{name};dur={1000 * s:.1f}" for name, s in done.stages.items())
    headers = {
        "X-Width": str(done.width),
        "X-Height": str(done.height),
        "X-Confidence": f"{done.cutout.confidence:.4f}",
        "X-Subject": str(done.cutout.has_subject).lower(),
        "Server-Timing": timing,
        "Cache-Control": "no-store",
    }
    return Response(done.body, 200, {**headers, **(more or {})}, media_type=_TYPES[done.format])


def make_app(service: Service, token: str | None) -> FastAPI:
    """Put the application together."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.cutter.start()
        service.ready = True
        yield
        service.ready = False
        service.cutter.stop()

    app = FastAPI(title="u2cut", version=__version__, lifespan=life, docs_url=None, redoc_url=None)

    @app.exception_handler(Refused)
    async def on_refused(_: Request, error: Refused) -> Response:
        return problem(error)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        name = "not_found" if error.status_code == 404 else "usage"
        return problem(Refused(error.status_code, name, str(error.detail)))

    _add_native(app, service)
    _add_state(app, service)
    if not service.options.no_page:
        _add_page(app)
    if Compat.REMOVEBG in service.options.compat:
        from u2cut.service.removebg import add_removebg

        add_removebg(app, service)
    if Compat.REMBG in service.options.compat:
        from u2cut.service.rembg import add_rembg

        add_rembg(app, service)
    app.add_middleware(Guard, options=service.options, token=token, metrics=service.metrics)
    return app


def _add_native(app: FastAPI, service: Service) -> None:
    async def answer(request: Request, *, mask: bool) -> Response:
        form = await read_form(request, raw="image")
        background = form.files.pop("background_image", None)
        image = form.files.pop("image", None)
        url = form.fields.pop("url", None)
        try:
            if form.files:
                raise UsageError(f"there is no file {next(iter(form.files))}")
            if (image is None) == (url is None):
                raise UsageError("send the photo as the body, or as the file 'image'")
            render, output = fields.render_options(
                form.fields, service.render, service.output, mask=mask
            )
            _check_format(render, output, background)
        except U2cutError as e:
            raise refused(e) from e
        if image is None:
            image = await service.download(str(url))
        return picture(await service.cut(Order(image, render, output, background), request))

    @app.post("/v1/remove", openapi_extra=_described(fields.REMOVE), response_class=Response)
    async def remove(request: Request) -> Response:
        """Cut the subject out of a photo."""
        return await answer(request, mask=False)

    @app.post("/v1/mask", openapi_extra=_described(fields.MASK), response_class=Response)
    async def mask(request: Request) -> Response:
        """Return the mask of a photo's subject."""
        return await answer(request, mask=True)


def _check_format(render: RenderOptions, output: OutputOptions, background: bytes | None) -> None:
    opaque = background is not None or render.cutout.behind is not None
    if output.format is Format.JPG and render.product == "cutout" and not opaque:
        raise UsageError("jpg has no transparency: add a background, or take png, webp or avif")


def _described(groups: Any) -> dict[str, Any]:
    """Return the fields of a route for its OpenAPI description, from the options classes."""
    properties: dict[str, Any] = {
        name: {"type": "string", "description": help} for name, help in fields.known(groups).items()
    }
    file = {"type": "string", "format": "binary"}
    properties |= {"image": {**file, "description": "The photo."}}
    properties |= {"background_image": {**file, "description": "A picture to put it on."}}
    form = {"schema": {"type": "object", "properties": properties}}
    return {"requestBody": {"content": {"multipart/form-data": form, "image/*": {"schema": file}}}}


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def alive() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Response:
        return PlainTextResponse("ok\n") if service.ready else PlainTextResponse("ending\n", 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_page(app: FastAPI) -> None:
    for path, (name, kind) in _PAGE_FILES.items():
        file = Path(str(_PAGE / name))

        async def send(file: Path = file, kind: str = kind) -> Response:
            return FileResponse(file, media_type=kind, headers={"Cache-Control": "no-cache"})

        app.get(path, include_in_schema=False)(send)
