"""Sample grids as pictures: uncurated, in the order of the shared noise."""

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


def grid(images_BHW: np.ndarray, columns: int = COLUMNS, scale: int = SCALE) -> Image.Image:
    """uint8 images (B, H, W) in rows, dark on light as ink on paper."""
    count, height, width = images_BHW.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), 255, np.uint8)
    for i, image in enumerate(images_BHW):
        y, x = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[y : y + height, x : x + width] = 255 - image
    picture = Image.fromarray(sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def tiled(images_BHW: np.ndarray, columns: int) -> Image.Image:
    """uint8 images (B, H, W) edge to edge, dark on light, for a page that lays them out; the last row may end early."""
    count, height, width = images_BHW.shape
    rows = -(-count // columns)
    tiles = np.full((rows * columns, height, width), 255, np.uint8)
    tiles[:count] = 255 - images_BHW
    sheet = tiles.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)
    return Image.fromarray(sheet)


def side_by_side(grids: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Captioned grids in one row; equal places share their noise."""
    width = sum(picture.width for _, picture in grids) + MARGIN * (len(grids) + 1)
    height = max(picture.height for _, picture in grids) + 2 * MARGIN + CAPTION
    sheet = Image.new("L", (width, height), 255)
    pen, x = ImageDraw.Draw(sheet), MARGIN
    for caption, picture in grids:
        pen.text((x, MARGIN // 2), caption, fill=0)
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
