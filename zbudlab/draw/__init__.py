"""Drawing: a scene becomes a `Picture`, an SVG and the text that says the same.  Live and saved views are that SVG."""

from .bitmap import bitmap_picture
from .chart import dots_picture, sizes_picture
from .kit import NARROW, WIDE, Fig, Picture
from .matrix import matrix_picture
from .memmap import memmap_picture
from .page import page_picture, record, strip, strip_text
from .pool import Ghost, chains, pool_picture
from .scheme import scheme_picture
from .surveys import Survey, survey
from .threadwalk import threadwalk_picture
from .timeline import lab_picture
from .xray import xray_picture

__all__ = [
    "NARROW",
    "WIDE",
    "Fig",
    "Ghost",
    "Picture",
    "Survey",
    "bitmap_picture",
    "chains",
    "dots_picture",
    "lab_picture",
    "matrix_picture",
    "memmap_picture",
    "page_picture",
    "pool_picture",
    "record",
    "scheme_picture",
    "sizes_picture",
    "strip",
    "strip_text",
    "survey",
    "threadwalk_picture",
    "xray_picture",
]
