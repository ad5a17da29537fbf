"""remove.bg's API, as far as it is done here; what isn't is refused by its code, never ignored.

Its description of version 1.0.0 (OpenAPI, 2021). Clients change one address and keep their code.
"""

import base64
import binascii
import io
import re
import zipfile
from dataclasses import replace
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from u2cut.errors import U2cutError, UsageError, printable
from u2cut.imaging.crop import subject_box
from u2cut.imaging.formats import Format
from u2cut.notation import Canvas, Margin, Position, parse_color, parse_margin
from u2cut.options import CanvasOptions, OutputOptions, Product, RenderOptions
from u2cut.service.app import Form, Service, picture, read_form
from u2cut.service.cutter import Done, Order
from u2cut.service.problems import Refused
from u2cut.service.region import Region

_SIZES: Final = {
    "preview": 250_000, "small": 250_000, "regular": 250_000,
    "medium": 1_500_000, "hd": 4_000_000,
    "full": 25_000_000, "4k": 25_000_000, "50MP": 50_000_000, "auto": None,
}  # fmt: skip
_TYPES: Final = ("auto", "person", "product", "car", "animal", "graphic", "transportation")
_FORMATS: Final = ("auto", "png", "jpg", "webp", "zip")
_KNOWN: Final = frozenset((
    "image_url", "size", "type", "type_level", "format", "crop", "crop_margin", "channels",
    "bg_color", "roi", "scale", "position", "add_shadow", "semitransparency", "image_file_b64",
    "bg_image_url", "shadow_type", "shadow_opacity",
))  # fmt: skip
# What isn't done here, and the values that ask for nothing.
_NOT_DONE: Final = {
    "add_shadow": ("", "false", "0"),
    "semitransparency": ("", "true", "1"),
    "bg_image_url": ("",),
}
_LENGTH: Final = re.compile(r"(-?\d{1,6}(?:\.\d{1,6})?)(px|%)", re.ASCII)
_TRUE: Final = ("true", "1", "yes")


class _Error(Exception):
    def __init__(self, code: str, title: str, status: int = 400) -> None:
        super().__init__(title)
        self.code, self.title, self.status = code, title, status


def add_removebg(app: FastAPI, service: Service) -> None:
    """Add its routes."""

    @app.post("/v1.0/removebg", include_in_schema=False)
    async def removebg(request: Request) -> Response:
        try:
            form = await read_form(request, raw="image_file")
            image = await _source(form, service)
            render, output, zipped = _options(form, service)
            size = form.fields.get("size", "preview")
            background = form.files.get("bg_image_file")
            region = _region(form.fields.get("roi", ""))
            order = Order(image, render, output, background, _SIZES[size], region)
            done = await service.cut(order, request)
            if not done.cutout.has_subject:
                raise _Error("unknown_foreground", "Could not identify foreground in image.")
            return _answer(request, done, zipped=zipped)
        except _Error as e:
            return _errors(e.status, e.title, e.code)
        except Refused as e:
            code = {"input": "failed_to_read_image", "failed_download": "failed_image_download",
                    "invalid_url": "invalid_image_url", "forbidden_url": "invalid_image_url",
                    }.get(e.code, e.code)  # fmt: skip
            status = 400 if e.status in (403, 422) else e.status
            return _errors(status, e.detail, code)

    @app.get("/v1.0/account", include_in_schema=False)
    async def account() -> Response:
        credits = dict.fromkeys(("total", "subscription", "payg", "enterprise"), 0)
        attributes = {"credits": credits, "api": {"free_calls": 0, "sizes": "all"}}
        return JSONResponse({"data": {"attributes": attributes}})


async def _source(form: Form, service: Service) -> bytes:
    """Return the photo, of which there must be exactly one."""
    given = [name for name in ("image_file", "image_file_b64", "image_url")
             if form.files.get(name) or form.fields.get(name)]  # fmt: skip
    if not given:
        raise _Error("missing_source", "No image given.")
    if len(given) > 1:
        raise _Error("multiple_sources", "Multiple image sources given: please provide one.")
    if given[0] == "image_file_b64":
        text = form.fields["image_file_b64"].partition("base64,")
        try:
            return base64.b64decode(text[2] or text[0], validate=False)
        except (binascii.Error, ValueError) as e:
            raise _Error("failed_to_read_image", "image_file_b64 isn't base64.") from e
    if given[0] == "image_url":
        return await service.download(form.fields["image_url"])
    if "image_file" not in form.files:
        raise _Error("invalid_file_type", "image_file isn't a file.")
    return form.files["image_file"]


def _options(form: Form, service: Service) -> tuple[RenderOptions, OutputOptions, bool]:
    """Return how the result looks, how it is written, and whether it is a zip."""
    named = {name: value.strip() for name, value in form.fields.items()}
    unknown = sorted(named.keys() - _KNOWN)
    if unknown:
        raise _Error("unknown_parameter", f"{printable(unknown[0])} is not known here.")
    for name, nothing in _NOT_DONE.items():
        if named.get(name, "").lower() not in nothing:
            raise _Error(f"unsupported_{name}", f"{name} is not done by this service.")
    for name, allowed in (("size", _SIZES), ("type", _TYPES), ("format", _FORMATS),
                          ("channels", ("rgba", "alpha"))):  # fmt: skip
        if name in named and named[name] not in allowed:
            raise _Error(f"invalid_{name}", f"{name} is one of {', '.join(allowed)}.")
    has_picture = bool(form.files.get("bg_image_file"))
    if has_picture and named.get("bg_color"):
        raise _Error("multiple_bg_sources", "Please provide one background.")
    alpha = named.get("channels") == "alpha"
    kind = named.get("format", "auto")
    opaque = has_picture or bool(named.get("bg_color"))
    if kind == "auto":
        kind = "jpg" if opaque else "png"
    if kind == "jpg" and not opaque and not alpha:
        named["bg_color"] = "white"  # as remove.bg does
    cutout = replace(
        service.render.cutout,
        background=_colour(named.get("bg_color", "")),
        background_image=None,
        background_blur=None,
        crop=named.get("crop", "").lower() in _TRUE,
        crop_margin=_margin(named.get("crop_margin", "")),
    )
    canvas = _canvas(named.get("scale", ""), named.get("position", ""))
    if canvas.canvas is not None and cutout.crop:
        raise _Error("invalid_crop", "Either crop, or place the subject by scale and position.")
    product = Product.ALPHA if alpha else Product.CUTOUT
    render = RenderOptions(product, edge=service.render.edge, cutout=cutout, canvas=canvas)
    zipped = kind == "zip"
    return render, replace(service.output, format=Format.PNG if zipped else Format(kind)), zipped


def _region(text: str) -> Region | None:
    """Read two corners, as "10% 0px 90% 50%": x and y of each."""
    if not text.strip():
        return None
    words = text.split()
    lengths = [_LENGTH.fullmatch(word) for word in words]
    if len(words) != 4 or not all(lengths):
        raise _Error("invalid_roi", "roi is x1 y1 x2 y2, each in px or %.")
    left, top, right, bottom = [(float(m[1]), m[2] == "%") for m in lengths if m]
    return Region(across=(left, right), down=(top, bottom))


def _canvas(scale: str, position: str) -> CanvasOptions:
    """Return the place of the subject within the photo's size."""
    scale, position = scale.lower() or "original", position.lower()
    share = _share(scale, "invalid_scale", "scale is original, or 10% to 100%.", least=10)
    if share is None and position in ("", "original"):
        return CanvasOptions()
    place = Position()
    if position == "original":
        raise _Error("invalid_position", "A scaled subject has no original position.")
    if position not in ("", "center"):
        words = position.split()
        what = "position is original, center, or one or two values of 0% to 100%."
        shares = [_share(word, "invalid_position", what) for word in (words * 2)[:2]]
        if len(words) > 2 or None in shares:
            raise _Error("invalid_position", what)
        across, down = (one or 0.0 for one in shares)
        place = Position(across, down)
    size = Canvas(0, 0, pixels=True)
    return CanvasOptions(size, fill=share or 1.0, position=place, enlarge=share is not None)


def _share(text: str, code: str, what: str, *, least: float = 0) -> float | None:
    """Read a percentage; "original" is None."""
    if text == "original":
        return None
    found = _LENGTH.fullmatch(text)
    if found is None or found[2] != "%" or not least <= float(found[1]) <= 100:
        raise _Error(code, what)
    return float(found[1]) / 100


def _colour(text: str) -> tuple[int, int, int] | None:
    """Read hex digits without a hash, or a name; what is transparent is no background."""
    if not text:
        return None
    digits = text.removeprefix("#")
    hexadecimal = all(c in "0123456789abcdefABCDEF" for c in digits)
    if hexadecimal and len(digits) in (4, 8):
        if set(digits[3 * len(digits) // 4 :].lower()) == {"0"}:
            return None
        if set(digits[3 * len(digits) // 4 :].lower()) != {"f"}:
            raise _Error("invalid_bg_color", "bg_color is opaque or transparent here.")
        digits = digits[: 3 * len(digits) // 4]
    try:
        return parse_color(f"#{digits}" if hexadecimal and len(digits) in (3, 6) else text)
    except UsageError as e:
        raise _Error("invalid_bg_color", "bg_color isn't a colour.") from e


def _margin(text: str) -> Any:
    try:
        return parse_margin(text) if text else None
    except U2cutError as e:
        raise _Error("invalid_crop_margin", "crop_margin is one value in px or %.") from e


def _answer(request: Request, done: Done, *, zipped: bool) -> Response:
    box = _foreground(done)
    more = {"X-Type": "other", "X-Credits-Charged": "0"}
    more |= {f"X-Foreground-{side.title()}": str(value) for side, value in box.items()}
    if zipped:
        return Response(_zip(done), 200, more, media_type="application/zip")
    if "application/json" in request.headers.get("accept", ""):
        body = {"result_b64": base64.b64encode(done.body).decode()}
        named = {f"foreground_{side}": value for side, value in box.items()}
        return JSONResponse({"data": body | named}, headers=more)
    return picture(done, more)


def _foreground(done: Done) -> dict[str, int]:
    """Return the subject's box in the photo, in pixels."""
    window = subject_box(done.cutout.alpha, Margin(0, percent=False))
    if window is None:
        return dict.fromkeys(("top", "left", "width", "height"), 0)
    rows, columns = window
    return {"top": rows.start, "left": columns.start,
            "width": columns.stop - columns.start, "height": rows.stop - rows.start}  # fmt: skip


def _zip(done: Done) -> bytes:
    """Return the colours as JPEG and the alpha as PNG, as remove.bg packs them."""
    cutout = done.cutout
    rgba = cutout.rgba
    colour = cutout.encoded(rgba[..., :3].copy(), Format.JPG, OutputOptions())
    alpha = cutout.encoded(rgba[..., 3].copy(), Format.PNG, OutputOptions())
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("color.jpg", colour)
        archive.writestr("alpha.png", alpha)
    return file.getvalue()


def _errors(status: int, title: str, code: str) -> Response:
    return JSONResponse({"errors": [{"title": title, "code": code}]}, status)
