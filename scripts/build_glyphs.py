"""Build the sheet of emoji glyphs that ships: python scripts/build_glyphs.py emoji-datasource-google-16.0.0.tgz

The archive is the npm package of that name (`npm pack emoji-datasource-google@16.0.0`): Google's Noto Emoji, 64x64 RGBA
each, and a list of names and categories. Ten classes are made of its subcategories, and each glyph is scaled to 40x40
with its colours multiplied by its opacity, as they must be where pixels are averaged.
"""

import argparse
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bakeoff.data.glyphs import LIST, SHEET, SIDE

CLASSES = ("face", "person", "animal", "plant", "food", "vehicle", "place", "flag", "symbol", "hand")
IMAGES = "package/img/google/64/"


def class_of(entry: dict[str, Any]) -> str | None:
    """The class of an entry of the list; None if it is of none."""
    category, sub = entry["category"], entry["subcategory"]
    if category == "Flags":
        return "flag"
    if category == "Symbols":
        return "symbol"
    if sub == "transport-sign":
        return None
    named = {
        "face": ("face-",),
        "person": ("person", "family"),
        "animal": ("animal-", "cat-face", "monkey-face"),
        "plant": ("plant-", "food-fruit", "food-vegetable"),
        "food": ("food-", "drink", "dishware"),
        "vehicle": ("transport-",),
        "place": ("place-", "hotel"),
        "hand": ("hand", "body-parts"),
    }
    return next((name for name, starts in named.items() if sub.startswith(starts)), None)


def scaled(image: Image.Image) -> np.ndarray:
    """(40, 40, 4) uint8, colours multiplied by opacity."""
    rgba = np.asarray(image.convert("RGBA"), np.float64) / 255
    rgba[..., :3] *= rgba[..., 3:]
    planes = [Image.fromarray(rgba[..., c].astype(np.float32)) for c in range(4)]
    small = [np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.LANCZOS)) for plane in planes]
    alpha = small[3].clip(0, 1)
    return (np.stack([*(plane.clip(0, alpha) for plane in small[:3]), alpha], -1) * 255).round().astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    options = parser.parse_args()
    glyphs: dict[str, dict[str, np.ndarray]] = {name: {} for name in CLASSES}
    with tarfile.open(options.archive) as archive:
        found = archive.extractfile("package/emoji.json")
        assert found is not None
        entries = sorted(json.load(found), key=lambda one: one["sort_order"])
        for entry in entries:
            name = class_of(entry)
            if name is None or not entry["has_img_google"] or entry["category"] == "Component":
                continue
            image = archive.extractfile(IMAGES + entry["image"])
            assert image is not None
            glyphs[name][entry["short_name"]] = scaled(Image.open(io.BytesIO(image.read())))
    sheet = np.stack([glyph for named in glyphs.values() for glyph in named.values()])
    SHEET.write_bytes(lzma.compress(sheet.tobytes(), preset=9 | lzma.PRESET_EXTREME))
    names = {name: list(named) for name, named in glyphs.items()}
    LIST.write_text(json.dumps(names, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {SHEET}: {len(sheet)} glyphs, {SHEET.stat().st_size} bytes")
    print(", ".join(f"{name} {len(named)}" for name, named in names.items()))


if __name__ == "__main__":
    main()
