"""The routes of ``rembg s``, as far as they are done here."""

from dataclasses import replace
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from u2cut.errors import U2cutError, UsageError
from u2cut.imaging.formats import Format
from u2cut.options import Matting, OutputOptions, Product, RenderOptions
from u2cut.service.app import Service, picture, read_form
from u2cut.service.cutter import Order
from u2cut.service.problems import Refused, refused

_KNOWN: Final = frozenset(("url", "model", "a", "af", "ab", "ae", "om", "ppm", "bgc", "extras"))
_TRUE: Final = ("true", "1", "yes", "on")
_MODELS: Final = ("u2net", "u2netp")


def add_rembg(app: FastAPI, service: Service) -> None:
    """Add them."""

    async def answer(request: Request) -> Response:
        try:
            form = await read_form(request, raw="file")
            render, output = _options(form.fields, service)
            url = form.fields.get("url")
            image = await service.download(url) if url else form.files.get("file")
            if not image:
                raise Refused(422, "usage", "send the photo as the file 'file', or its url")
            return picture(await service.cut(Order(image, render, output), request))
        except U2cutError as e:
            return _detail(refused(e))
        except Refused as e:
            return _detail(e)

    @app.post("/api/remove", include_in_schema=False)
    async def post(request: Request) -> Response:
        return await answer(request)

    @app.get("/api/remove", include_in_schema=False)
    async def get(request: Request) -> Response:
        return await answer(request)


def _options(named: dict[str, str], service: Service) -> tuple[RenderOptions, OutputOptions]:
    """Return how the result looks.

    Raises:
        UsageError: A parameter is unknown, or isn't done here.
    """
    unknown = sorted(named.keys() - _KNOWN)
    if unknown:
        raise UsageError(f"{unknown[0]} is not known here")
    if named.get("model", "u2net") not in _MODELS:
        raise UsageError("model: u2net and u2netp are all that there is here")
    if named.get("ppm", "").lower() in _TRUE:
        raise UsageError("ppm is not done here: masks come from a matting of their own")
    if named.get("extras", "") not in ("", "{}"):
        raise UsageError("extras are not done here")
    edge = service.render.edge
    if named.get("a", "").lower() in _TRUE:
        edge = replace(edge, matting=Matting.BEST)
    product = Product.ALPHA if named.get("om", "").lower() in _TRUE else Product.CUTOUT
    cutout = replace(service.render.cutout, background=_colour(named.get("bgc", "")))
    render = RenderOptions(product, edge=edge, cutout=cutout)
    return render, replace(service.output, format=Format.PNG)


def _colour(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    parts = text.split(",")
    try:
        values = [int(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != 4 or not all(0 <= value <= 255 for value in values):
        raise UsageError("bgc: give r,g,b,a with 0 to 255 each")
    red, green, blue, opacity = values
    if opacity == 0:
        return None
    if opacity != 255:
        raise UsageError("bgc: a background is opaque (a = 255) or none (a = 0) here")
    return red, green, blue


def _detail(error: Refused) -> Response:
    return JSONResponse({"detail": error.detail}, error.status, error.headers)
