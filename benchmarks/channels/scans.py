"""Prints texts on small pages, scans them badly, and recognises them with Tesseract, one JSON line for each.

PYTHONPATH=benchmarks python -m channels.scans --data DIR --out ocr.jsonl   # goes on where it was stopped

Needs tesseract-ocr with its English model, Pillow, numpy, and the fonts DejaVu, Liberation and FreeFont; nothing of
llmkit.
"""

from __future__ import annotations

import subprocess
import textwrap
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from channels.collect import Recognise, run

FONT_FOLDER = Path("/usr/share/fonts/truetype")
FONTS = (
    "dejavu/DejaVuSans", "dejavu/DejaVuSerif", "dejavu/DejaVuSansMono", "dejavu/DejaVuSansCondensed",
    "liberation/LiberationSans-Regular", "liberation/LiberationSerif-Regular", "liberation/LiberationSerif-Italic",
    "liberation/LiberationMono-Regular", "liberation/LiberationSansNarrow-Regular", "liberation/LiberationSans-Bold",
    "freefont/FreeSans", "freefont/FreeSerif", "freefont/FreeSerifItalic", "freefont/FreeMono",
)  # fmt: skip
POINTS = (9, 12)
DOTS_PER_INCH = (95, 160)
_PRINT = 300  # dots an inch, in which a page is drawn before it is scanned


def setting(text: str) -> dict[str, Any]:
    """Draws how a text is printed and scanned: font, size, resolution, skew, blur, noise, contrast."""
    rng = Random(f"channels scan {text}")
    return {
        "font": rng.choice(FONTS),
        "points": rng.randint(*POINTS),
        "dots_per_inch": rng.randint(*DOTS_PER_INCH),
        "skew": round(rng.uniform(-1.0, 1.0), 2),  # degrees
        "blur": round(rng.uniform(0.0, 0.9), 2),  # pixels of the scan
        "noise": rng.randint(0, 30),  # of 255, the standard deviation
        "ink": rng.randint(0, 110),  # of 255; 0 is black
        "columns": rng.randint(36, 60),  # characters a line
        "seed": rng.getrandbits(32),
    }


def scan(text: str, how: dict[str, Any]) -> Image.Image:
    """Returns the scanned page of a text, in shades of grey."""
    font = ImageFont.truetype(str(FONT_FOLDER / f"{how['font']}.ttf"), round(how["points"] * _PRINT / 72))
    lines = "\n".join(textwrap.wrap(text, how["columns"], break_long_words=False, break_on_hyphens=False))
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), lines, font=font)
    margin = _PRINT // 3
    page = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin), 255)
    ImageDraw.Draw(page).multiline_text((margin - left, margin - top), lines, font=font, fill=how["ink"])
    page = page.rotate(how["skew"], Image.Resampling.BICUBIC, fillcolor=255)
    share = how["dots_per_inch"] / _PRINT
    page = page.resize((round(page.width * share), round(page.height * share)), Image.Resampling.BOX)
    page = page.filter(ImageFilter.GaussianBlur(how["blur"]))
    grain = np.random.default_rng(how["seed"]).normal(0, how["noise"], (page.height, page.width))
    return Image.fromarray(np.clip(np.asarray(page) + grain, 0, 255).astype(np.uint8))


def recognised(page: Image.Image, dots_per_inch: int) -> str:
    """Returns what Tesseract reads on a page, in one line."""
    picture = BytesIO()
    page.save(picture, "PNG", dpi=(dots_per_inch, dots_per_inch))
    command = ["tesseract", "-", "-", "-l", "eng", "--psm", "6"]
    done = subprocess.run(command, input=picture.getvalue(), capture_output=True, check=True)
    return " ".join(done.stdout.decode("utf-8").split())


def recogniser() -> Recognise:
    """Returns what prints a text, scans it and reads it."""

    def recognise(text: str) -> dict[str, Any]:
        how = setting(text)
        return {"read": recognised(scan(text, how), how["dots_per_inch"]), **how}

    return recognise


if __name__ == "__main__":
    run(__doc__, recogniser)
