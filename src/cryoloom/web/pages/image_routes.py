"""Slices, thumbnails and values of images; an address always has the same answer."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.web.in_thread import InThread
from cryoloom.web.pictures.images import Image
from cryoloom.web.pictures.levels import level_shapes
from cryoloom.web.pictures.oblique import ObliqueRequest, render_oblique
from cryoloom.web.pictures.slices import (
    SliceRequest,
    render,
    render_strip,
    shown_range,
    thumbnail,
    value_at,
)
from cryoloom.web.site import site_of

__all__ = ["image_of", "router"]

router = APIRouter(route_class=InThread)
_FOR_EVER = "private, max-age=31536000, immutable"
#: Chosen: size of a file up to which xz slices of its floats are given; each slice reads the whole file.
_LARGEST_EXACT_SIDE_BYTES = 4_000_000_000
#: Chosen: size of a section up to which its thumbnail is made at once. A page requests thumbnails of all
#: tilts; those of larger tilts are made with the levels, because each of them would read a whole tilt.
_SMALL_SECTION_BYTES = 2_000_000
_ROOTS = ("/p/{project}/image/{item}/{role}", "/files/image/{item}/{role}")


class _ImageSource(Protocol):
    def image(self, item_id: int, role: str) -> Image: ...


def image_of(request: Request, key: str | None = None) -> Image:
    """Image of an address. Raises DataUnfitError if its file has changed."""
    site = site_of(request)
    source: _ImageSource | None = site.files
    if "project" in request.path_params:
        source = site.project(request.path_params["project"])
    if source is None:
        raise UserInputError("no files were given to this server")
    image = source.image(int(request.path_params["item"]), request.path_params["role"])
    if key is not None and key != image.key:
        raise DataUnfitError(f"{image.name} was rewritten; load the page again")
    return image


def _info(request: Request) -> JSONResponse:
    image = image_of(request)
    low, high = shown_range(image)
    is_small = image.pixels.dtype.itemsize * image.shape[0] * image.shape[1] * image.shape[2]
    facts = {
        "key": image.key,
        "name": image.name,
        "kind": image.kind,
        "shape": image.shape,
        "pixel_size_angstrom": image.pixel_size_angstrom,
        "levels": level_shapes(image.shape, image.kind),
        "low": low,
        "high": high,
        "ready": site_of(request).shelf.prepare(image) >= 1,
        "exact_axes": ["z", "y", "x"] if is_small <= _LARGEST_EXACT_SIDE_BYTES else ["z"],
    }
    return JSONResponse(facts, headers={"cache-control": "no-store"})


def _levels(request: Request, key: str) -> JSONResponse:
    part = site_of(request).shelf.prepare(image_of(request, key))
    return JSONResponse({"part": part}, headers={"cache-control": "no-store"})


def _preparing(part: float) -> JSONResponse:
    """Answer while levels of an image are being made: no error, the browser tries again."""
    facts = {"error": f"Preparing this view: {100 * part:.0f} %", "part": part}
    return JSONResponse(facts, 202, headers={"cache-control": "no-store"})


def _slice(
    request: Request,
    key: str,
    level: int,
    axis: Literal["x", "y", "z"],
    index: int,
    n: Annotated[int, Query(ge=1, le=400)] = 1,
    q: Annotated[int, Query(ge=10, le=95)] = 80,
    r: Annotated[str | None, Query(pattern=r"^\d+,\d+,\d+,\d+$")] = None,
    lo: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    hi: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> Response:
    image = image_of(request, key)
    shelf = site_of(request).shelf
    levels = shelf.levels(image)
    if levels is None and axis != "z":
        return _preparing(shelf.prepare(image))
    left, bottom, width, height = (int(word) for word in r.split(",")) if r else (0, 0, 0, 0)
    with shelf.making_picture():
        made = render(
            image,
            levels,
            SliceRequest(
                level=level,
                axis=axis,
                index=index,
                n_sections=n,
                quality=q,
                region=(left, bottom, width, height) if r else None,
                shown=(lo, hi) if lo is not None and hi is not None and hi > lo else None,
            ),
        )
    headers = {"cache-control": _FOR_EVER, "x-range": f"{made.low:.9g},{made.high:.9g}"}
    return Response(made.jpeg, media_type="image/jpeg", headers=headers)


def _strip(
    request: Request,
    key: str,
    level: int,
    axis: Literal["x", "y", "z"],
    first: int,
    count: Annotated[int, Query(ge=1, le=64)],
    n: Annotated[int, Query(ge=1, le=400)] = 1,
    q: Annotated[int, Query(ge=10, le=95)] = 70,
) -> Response:
    """Consecutive small slices in one picture, so that there is always a slice to show while scrubbing."""
    image, shelf = image_of(request, key), site_of(request).shelf
    levels = shelf.levels(image)
    if levels is None:
        return _preparing(shelf.prepare(image))
    wanted = SliceRequest(level=level, axis=axis, index=first, n_sections=n, quality=q)
    with shelf.making_picture():
        made = render_strip(image, levels, wanted, count)
    ranges = ";".join(f"{low:.9g},{high:.9g}" for low, high in made.ranges)
    headers = {"cache-control": _FOR_EVER, "x-ranges": ranges}
    return Response(made.jpeg, media_type="image/jpeg", headers=headers)


def _oblique(
    request: Request,
    key: str,
    x: float,
    y: float,
    z: float,
    w: int,
    h: int,
    step: Annotated[float, Query(gt=0.01, le=64)],
    rx: Annotated[float, Query(ge=-360, le=360)] = 0.0,
    ry: Annotated[float, Query(ge=-360, le=360)] = 0.0,
    n: Annotated[int, Query(ge=1, le=400)] = 1,
    lo: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    hi: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> Response:
    image, shelf = image_of(request, key), site_of(request).shelf
    levels = shelf.levels(image)
    if levels is None:
        return _preparing(shelf.prepare(image))
    shown = (lo, hi) if lo is not None and hi is not None and hi > lo else None
    with shelf.making_picture():
        made = render_oblique(levels, ObliqueRequest((x, y, z), rx, ry, w, h, step, n, shown))
    return Response(made.jpeg, media_type="image/jpeg", headers={"cache-control": _FOR_EVER})


def _thumb(request: Request, key: str, index: int, s: Annotated[int, Query(ge=16, le=512)] = 180) -> Response:
    image, shelf = image_of(request, key), site_of(request).shelf
    levels = shelf.levels(image)
    section_bytes = image.shape[1] * image.shape[2] * image.pixels.dtype.itemsize
    if levels is None and section_bytes > _SMALL_SECTION_BYTES:
        return _preparing(shelf.prepare(image))
    return Response(
        thumbnail(image, levels, index, s), media_type="image/jpeg", headers={"cache-control": _FOR_EVER}
    )


def _thumb_now(
    request: Request,
    i: Annotated[int | None, Query(ge=0)] = None,
    s: Annotated[int, Query(ge=16, le=512)] = 180,
) -> Response:
    """Thumbnail without a key, for pages with many: of section ``i``, or of the middle section."""
    image = image_of(request)
    jpeg = thumbnail(image, site_of(request).shelf.levels(image), image.shape[0] // 2 if i is None else i, s)
    return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=60"})


def _value(request: Request, key: str, z: int, y: int, x: int) -> JSONResponse:
    value = value_at(image_of(request, key), z, y, x)
    return JSONResponse({"value": f"{value:.9g}"}, headers={"cache-control": _FOR_EVER})


for _root in _ROOTS:
    router.add_api_route(f"{_root}/info.json", _info)
    router.add_api_route(f"{_root}/thumb.jpg", _thumb_now)
    router.add_api_route(f"{_root}/{{key}}/levels.json", _levels)
    router.add_api_route(f"{_root}/{{key}}/value", _value)
    router.add_api_route(f"{_root}/{{key}}/oblique.jpg", _oblique)
    router.add_api_route(f"{_root}/{{key}}/thumb/{{index}}.jpg", _thumb)
    router.add_api_route(f"{_root}/{{key}}/{{level}}/{{axis}}/{{index}}.jpg", _slice)
    router.add_api_route(f"{_root}/{{key}}/{{level}}/{{axis}}/strip/{{first}}.jpg", _strip)
