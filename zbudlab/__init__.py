"""zbudlab: the zbud and struct page discussion of May 2013 as something you can run.

The model is in `struct_page`, `memmap`, `page_alloc`, `schemes`, `versions`, `zbud` and `timeline`; it needs nothing
but the standard library.  Pictures are in `draw`, the live instruments in `widgets`; those and the rest are imported
when they are first used.  Each object of the model shows itself: `print` gives text, a notebook the picture that says
the same.

    >>> import zbudlab
    >>> pool = zbudlab.ZbudPool("v12")
    >>> handle = pool.alloc(1000)
    >>> print(str(pool).splitlines()[0])
    zbud v12: 1 zpage in 1 page, density 1.00, slack 3,072 B
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Three functions have the names of their modules; imported here and now, the names mean the functions, for good.
from .doctor import doctor
from .memmap import KernelOops, Memmap
from .page import Page
from .page_alloc import Arena, KernelPages, OutOfMemory
from .quote import quote
from .schemes import SCHEMES, Scheme
from .sources import sources
from .timeline import Timeline
from .versions import VERSIONS, Handle, StaleHandle, ZbudError
from .zbud import ZbudPool

if TYPE_CHECKING:
    from .demonstrate import judge, matrix
    from .draw import Picture, lab_picture, matrix_picture, memmap_picture, page_picture, pool_picture, sizes_picture
    from .exercises import exercise, predict
    from .moments import MOMENTS
    from .peekers import PEEKERS
    from .recordings import check
    from .thread import CLAIMS, MESSAGES, WHO, claims, reply_tree
    from .widgets import BuddyLab, MemmapView, PageXray, PeekerBench, SafetyMatrix, SchemeBuilder, ThreadWalk
    from .workload import corpus

__version__ = "0.1.0"
__all__ = [
    "CLAIMS",
    "MESSAGES",
    "MOMENTS",
    "PEEKERS",
    "SCHEMES",
    "VERSIONS",
    "WHO",
    "Arena",
    "BuddyLab",
    "Handle",
    "KernelOops",
    "KernelPages",
    "Memmap",
    "MemmapView",
    "OutOfMemory",
    "Page",
    "PageXray",
    "PeekerBench",
    "Picture",
    "SafetyMatrix",
    "Scheme",
    "SchemeBuilder",
    "StaleHandle",
    "ThreadWalk",
    "Timeline",
    "ZbudError",
    "ZbudPool",
    "check",
    "claims",
    "corpus",
    "doctor",
    "exercise",
    "judge",
    "lab_picture",
    "matrix",
    "matrix_picture",
    "memmap_picture",
    "page_picture",
    "pool_picture",
    "predict",
    "quote",
    "reply_tree",
    "sizes_picture",
    "sources",
]
_LATER = {  # name to the module it lives in
    "BuddyLab": "widgets",
    "MemmapView": "widgets",
    "PageXray": "widgets",
    "PeekerBench": "widgets",
    "SafetyMatrix": "widgets",
    "SchemeBuilder": "widgets",
    "ThreadWalk": "widgets",
    "Picture": "draw",
    "check": "recordings",
    "CLAIMS": "thread",
    "claims": "thread",
    "corpus": "workload",
    "exercise": "exercises",
    "MESSAGES": "thread",
    "PEEKERS": "peekers",
    "MOMENTS": "moments",
    "judge": "demonstrate",
    "lab_picture": "draw",
    "matrix": "demonstrate",
    "matrix_picture": "draw",
    "memmap_picture": "draw",
    "page_picture": "draw",
    "pool_picture": "draw",
    "predict": "exercises",
    "reply_tree": "thread",
    "sizes_picture": "draw",
    "WHO": "thread",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"zbudlab has no {name!r}; it has {', '.join(__all__)}")
    try:
        value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    except ModuleNotFoundError as missing:
        why = f"{name} needs {missing.name}, which this Python does not have; python3 lab.py sets up one that does"
        raise ImportError(why) from missing
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _show(cls: Any, picture: str, *, text: bool = True) -> None:
    """Hang a picture on a class of the model, so that the model itself need not know that there are pictures."""

    def drawn(self: Any) -> Picture:
        made: Picture = __getattr__(picture)(*((self.memmap, self.pfn) if cls is Page else (self,)))
        return made

    if text:
        cls.__str__ = lambda self: drawn(self).text
    cls._repr_html_ = lambda self: drawn(self).html()
    cls._repr_mimebundle_ = lambda self, **kwargs: {"text/plain": drawn(self).text}


_show(ZbudPool, "pool_picture")
_show(Memmap, "memmap_picture")
_show(Page, "page_picture")
_show(Timeline, "lab_picture", text=False)
