"""Pictures of many images: uncurated, in the order of the shared noise. Grey is drawn as ink on paper, colour as it is.

Shapes: B images of H x W pixels, uint8; grey (B, H, W) or colour (B, H, W, 3).
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

COLUMNS = 8
SCALE = 2
GAP = 2
MARGIN = 12
CAPTION = 18
PAPER = 255


def inked(images: np.ndarray) -> np.ndarray:
    """As they are drawn: grey images dark on light, colour ones unchanged."""
    return 255 - images if images.ndim == 3 else images


def grid(images: np.ndarray, columns: int = COLUMNS, scale: int = SCALE) -> Image.Image:
    """Images in rows, with gaps between them, each pixel `scale` pixels wide."""
    count, height, width = images.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *images.shape[3:])
    sheet = np.full(shape, PAPER, np.uint8)
    for i, image in enumerate(inked(images)):
        y, x = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[y : y + height, x : x + width] = image
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def tiled(images: np.ndarray, columns: int) -> Image.Image:
    """Images edge to edge, for a page that lays them out; the last row may end early."""
    count, height, width, *colour = images.shape
    rows = -(-count // columns)
    tiles = np.full((rows * columns, height, width, *colour), PAPER, np.uint8)
    tiles[:count] = inked(images)
    sheet = tiles.reshape(rows, columns, height, width, *colour).swapaxes(1, 2)
    return Image.fromarray(sheet.reshape(rows * height, columns * width, *colour))


def side_by_side(grids: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Captioned grids in one row; equal places share their noise."""
    width = sum(picture.width for _, picture in grids) + MARGIN * (len(grids) + 1)
    height = max(picture.height for _, picture in grids) + 2 * MARGIN + CAPTION
    grey = all(picture.mode == "L" for _, picture in grids)
    sheet = Image.new("L", (width, height), PAPER) if grey else Image.new("RGB", (width, height), (PAPER,) * 3)
    pen, x = ImageDraw.Draw(sheet), MARGIN
    for caption, picture in grids:
        pen.text((x, MARGIN // 2), caption, fill=0 if grey else (0, 0, 0))
        sheet.paste(picture, (x, MARGIN + CAPTION))
        x += picture.width + MARGIN
    return sheet


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(picture: Image.Image) -> str:
    """For a page that asks nobody for anything."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()
