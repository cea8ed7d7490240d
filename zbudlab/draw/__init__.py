"""Drawing: a scene becomes a `Picture`, an SVG and the text that says the same.  Live and saved views are that SVG."""

from .chart import sizes_picture
from .kit import NARROW, WIDE, Fig, Picture
from .matrix import matrix_picture
from .memmap import memmap_picture
from .page import page_picture, record, strip, strip_text
from .pool import Ghost, chains, pool_picture
from .timeline import lab_picture

__all__ = [
    "NARROW",
    "WIDE",
    "Fig",
    "Ghost",
    "Picture",
    "chains",
    "lab_picture",
    "matrix_picture",
    "memmap_picture",
    "page_picture",
    "pool_picture",
    "record",
    "sizes_picture",
    "strip",
    "strip_text",
]
