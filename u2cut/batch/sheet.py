"""A contact sheet of a run: before and after, the least certain first, in one HTML file."""

import base64
import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.batch.journal import Line, is_header, lines
from u2cut.batch.result import DOUBTFUL
from u2cut.errors import U2cutError, printable
from u2cut.files.read import read
from u2cut.imaging.composite import over
from u2cut.imaging.decode import Frame, decode
from u2cut.options import InputOptions

_SIDE: Final = 320  # pixels of a thumbnail's longer side
_GREEN: Final = (0, 177, 64)  # saturated: white hides holes, and so does black

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #f4f4f4; color: #222; }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }}
figure {{ margin: 0; padding: .6rem; background: #fff; border-radius: .4rem; }}
.doubtful {{ outline: 3px solid #c60; }}
div {{ display: flex; gap: .4rem; }}
img {{ flex: 1; min-width: 0; max-height: 15rem; object-fit: contain; }}
figcaption {{ margin-top: .4rem; overflow-wrap: anywhere; }}
b {{ font-variant-numeric: tabular-nums; }}
</style></head><body><h1>{title}</h1><p>{summary}</p><main>
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A result: its files, and how sure the network was."""

    source: str
    target: str
    confidence: float


def entries(journal: Path) -> list[Entry]:
    """Return the results that a journal names, the least certain first; each once.

    Raises:
        InputError: It can't be read, or is no journal.
    """
    found: dict[str, Entry] = {}
    folder = Path()
    for line in lines(journal):
        if is_header(line):
            folder = Path(str(line.get("folder")))
        elif line.get("status") == "ok":
            entry = _entry(line, folder)
            if entry is not None:
                found[entry.target] = entry
    return sorted(found.values(), key=lambda entry: entry.confidence)


def _entry(line: Line, folder: Path) -> Entry | None:
    confidence = line.get("confidence")
    if not isinstance(confidence, int | float):
        return None  # written by an earlier version
    source, target = (str(folder / str(line.get(key))) for key in ("input", "output"))
    return Entry(source, target, float(confidence))


def sheet(found: list[Entry], *, title: str, most: int) -> Iterator[bytes]:
    """Yield the parts of an HTML file that shows results beside their photos.

    Args:
        found: The results, in the order in which they are shown.
        title: Its heading.
        most: How many are shown.
    """
    doubtful = sum(entry.confidence < DOUBTFUL for entry in found)
    summary = f"{len(found)} results, {doubtful} of them doubtful (outlined). Least certain first"
    summary += f", the first {most} of them." if most < len(found) else "."
    yield _HEAD.format(title=html.escape(printable(title)), summary=summary).encode()
    for entry in found[:most]:
        doubt = ' class="doubtful"' if entry.confidence < DOUBTFUL else ""
        name = html.escape(printable(entry.source))
        pictures = f"{_picture(entry.source, 'before')}{_picture(entry.target, 'after')}"
        yield (
            f"<figure{doubt}><div>{pictures}</div>"
            f"<figcaption><b>{entry.confidence:.2f}</b> {name}</figcaption></figure>\n"
        ).encode()
    yield b"</main></body></html>\n"


def _picture(path: str, what: str) -> str:
    """Return an image element with a thumbnail inside, or why there is none."""
    try:
        frame = decode(read(path), max_pixels=InputOptions().max_pixels, least_size=(_SIDE, _SIDE))
    except U2cutError as e:
        return f"<p>{html.escape(f'{what}: {e}')}</p>"
    data = cv2.imencode(".jpg", _thumbnail(frame)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    encoded = base64.b64encode(data.tobytes()).decode()
    return f'<img alt="{what}" src="data:image/jpeg;base64,{encoded}">'


def _thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """Return a picture in sRGB on green, its longer side ``_SIDE`` pixels, RGB."""
    image = frame.in_srgb().image
    if frame.alpha is not None:
        image = over(image, frame.alpha, _GREEN)
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
