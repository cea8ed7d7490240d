"""A kernel's description of itself: struct layouts and the numbers of enums, out of its BTF.

BTF (Documentation/bpf/btf.rst in the kernel tree) is a list of types, each twelve bytes and what its kind adds, and a
heap of names.  Types refer to each other by their place in the list; 0 is void.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FLOAT, ENUM64 = 1, 2, 3, 4, 5, 6, 16, 19
NAMES = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum "}
# what follows the twelve bytes: so many once, so many for each of the type's parts
EXTRA = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12), 17: (4, 0)}
EXTRA[ENUM64] = (0, 12)


@dataclass
class Type:
    kind: int
    name: str
    size: int  # of a struct, union, enum or int; for other kinds the type that this one refers to
    bitfields: bool = False
    parts: list[tuple[int, ...]] = field(default_factory=list)


class Btf:
    """The types of one kernel.  Raises ValueError if `raw` is no BTF."""

    def __init__(self, raw: bytes) -> None:
        if raw[:2] != b"\x9f\xeb":
            raise ValueError("this is no little-endian BTF: its first two bytes are not 9f eb")
        header, types_at, types, names_at, names = struct.unpack_from("<5I", raw, 4)
        self.names = raw[header + names_at :][:names]
        self.types = [Type(0, "void", 0)]
        at, end = header + types_at, header + types_at + types
        while at < end:
            at = self._read(raw, at)

    def _read(self, raw: bytes, at: int) -> int:
        """One more type, from offset `at`; returns where the next one starts."""
        name, info, size = struct.unpack_from("<3I", raw, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        once, each = EXTRA.get(kind, (0, 0))
        n = 1 if once else count if each else 0
        form, step = (f"<{once // 4}I", once) if once else (f"<{each // 4}I", each)
        parts = [struct.unpack_from(form, raw, at + 12 + step * i) for i in range(n)]
        self.types.append(Type(kind, self._name(name), size, bool(info >> 31), parts))
        return at + 12 + step * n

    def _name(self, at: int) -> str:
        return self.names[at : self.names.index(b"\0", at)].decode()

    def size(self, number: int) -> int:
        """Bytes that a type takes."""
        t = self.types[number]
        if t.kind == PTR:
            return 8
        if t.kind == ARRAY:
            element, _, length = t.parts[0]
            return self.size(element) * length
        return t.size if t.kind in (0, INT, STRUCT, UNION, ENUM, FLOAT, ENUM64) else self.size(t.size)

    def written(self, number: int) -> str:
        """A type as C would write it, without const and volatile."""
        t = self.types[number]
        if t.kind == PTR:
            return f"{self.written(t.size)} *"
        if t.kind == ARRAY:
            element, _, length = t.parts[0]
            return f"{self.written(element)}[{length}]"
        if t.kind in (9, 10, 11):  # volatile, const, restrict
            return self.written(t.size)
        return NAMES.get(t.kind, "") + (t.name or "(anonymous)")

    def _find(self, name: str, *kinds: int) -> int:
        for number, t in enumerate(self.types):
            if t.name == name and t.kind in kinds:
                return number
        raise KeyError(f"this kernel has no {name!r}")

    def members(self, number: int, base: int = 0) -> list[dict[str, Any]]:
        """Name, offset, size and type of each member, those of anonymous structs and unions among them."""
        t, out = self.types[number], []
        for name_at, kind, offset in t.parts:
            bits, width = (offset & 0xFFFFFF, offset >> 24) if t.bitfields else (offset, 0)
            name, at = self._name(name_at), base + bits // 8
            if not name and self.types[kind].kind in (STRUCT, UNION):
                out += self.members(kind, at)
            else:
                member = {"name": name, "offset": at, "size": self.size(kind), "type": self.written(kind)}
                out.append(member | ({"bits": [bits % 8, width]} if width else {}))
        return out

    def struct(self, name: str) -> dict[str, Any]:
        """The size and the members of a struct; KeyError if the kernel has none of that name."""
        number = self._find(name, STRUCT)
        return {"size": self.types[number].size, "members": self.members(number)}

    def enum(self, name: str) -> dict[str, int]:
        """The names of an enum and their numbers; KeyError if the kernel has none of that name."""
        t = self.types[self._find(name, ENUM, ENUM64)]
        return {self._name(part[0]): part[1] for part in t.parts}
