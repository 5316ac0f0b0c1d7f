"""What a file defines, names and imports, by the form of its lines: fast enough for every file of a repository.

Good enough to rank files by, no evidence of anything: what is shown to anybody is read from the syntax tree.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_NOT_A_NAME = bytes(code if chr(code).isalnum() or code in b"_$" or code >= 128 else 32 for code in range(256))
_SHORTEST, _LONGEST = 3, 100
_MOST_WORDS = 5_000
_MOST_NAMES = 3_000
_MOST_IMPORTS = 1_000


@dataclass(frozen=True, slots=True)
class Outline:
    """Names defined, identifiers named, and modules imported, in the order of the text; all as bytes."""

    defined: tuple[bytes, ...]
    named: tuple[bytes, ...]
    imports: tuple[bytes, ...]

    def pack(self) -> bytes:
        """One line for each part."""
        return b"\n".join(b" ".join(part) for part in (self.defined, self.named, self.imports))

    @classmethod
    def unpack(cls, packed: bytes) -> "Outline":
        """What `pack` gave; ValueError for anything else."""
        defined, named, imports = packed.split(b"\n")
        return cls(tuple(defined.split()), tuple(named.split()), tuple(imports.split()))


def outline(language: str, data: bytes) -> Outline:
    """The outline of a source text in one of the languages that have a grammar."""
    code = _without_docstrings(data) if language == "Python" else _BLOCK_COMMENT.sub(b"", data)
    named = [
        word
        for word in dict.fromkeys(code.translate(_NOT_A_NAME).split())
        if _SHORTEST <= len(word) < _LONGEST and not 48 <= word[0] <= 57  # no digit
    ]
    defined, imports = _READERS[language](code)
    return Outline(
        tuple(dict.fromkeys(defined[:_MOST_NAMES])),
        tuple(named[:_MOST_WORDS]),
        tuple(dict.fromkeys(imports[:_MOST_IMPORTS])),
    )


_BLOCK_COMMENT = re.compile(rb"^[ \t]*/\*.*?\*/", re.MULTILINE | re.DOTALL)
_DEFINES = (b"def ", b"class ", b"async def ")
_PYTHON_LINE = re.compile(rb"^[ \t\r\f\v]*+((?:def |class |async def |import |from )[^\n]*)", re.MULTILINE)
_PYTHON_NAME = re.compile(rb"(?:def|class)\s+(\w+)")
_PYTHON_FROM = re.compile(rb"from[ \t]+(\.*[\w.]*)[ \t]+import\b[ \t]*(.*)")


def _without_docstrings(data: bytes) -> bytes:
    """Python without what stands between triple quotes, unless these do not pair."""
    parts = data.split(b'"""')
    return b'""'.join(parts[::2]) if len(parts) % 2 else data


def _python(code: bytes) -> tuple[list[bytes], list[bytes]]:
    defined: list[bytes] = []
    imports: list[bytes] = []
    read = 0
    for line in _PYTHON_LINE.finditer(code):
        if line.start() < read:
            continue  # within the brackets of an import
        text = line[1]
        if text.startswith(_DEFINES):
            if found := _PYTHON_NAME.search(text):
                defined.append(found[1])
        elif text.startswith(b"import "):
            names = text[7:].partition(b"#")[0].split(b",")
            imports += [name.split()[0] for name in names if name.split()]
        elif text.startswith(b"from ") and (found := _PYTHON_FROM.match(text)):
            names_text = found[2]
            if b"(" in names_text:
                read = line.end()
                while b")" not in names_text and read < len(code):
                    start, end = read + 1, code.find(b"\n", read + 1)
                    read = end if end >= 0 else len(code)
                    names_text += b" " + code[start:read].partition(b"#")[0]
            imports += _from_names(found[1], names_text)
    return defined, imports


def _from_names(module: bytes, names: bytes) -> list[bytes]:
    """`from a import b, c as d` as a:b and a:c, since nobody knows yet whether b is a module."""
    listed = names.partition(b"#")[0].partition(b")")[0].replace(b"(", b" ").replace(b"\\", b" ")
    parts = [name.split()[0] for name in listed.split(b",") if name.split()]
    return [module + b":" + part for part in parts] or [module + b":"]


_JS_DEFINED = re.compile(
    rb"\b(?:function\s*\*?|class|interface|enum|type|namespace)\s+([A-Za-z_$][\w$]*)"
    rb"|^(?:export\s+)?(?:const|let|var)\s+([A-Za-z_$][\w$]*)"
    rb"|^[ \t]+(?:(?:public|private|protected|static|async|override|readonly|get|set)\s+)*([A-Za-z_$][\w$]*)\s*"
    rb"(?:<[^>\n]*>)?\([^;\n]*\{[ \t\r]*$",
    re.MULTILINE,
)
_JS_WORDS = frozenset((b"if", b"for", b"while", b"switch", b"catch", b"function", b"return", b"with", b"constructor"))
_JS_IMPORTED = re.compile(rb"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*["']([^"'\n\s]+)["']""")
_GO_DEFINED = re.compile(
    rb"^func\s+(?:\([^)\n]*\)\s*)?(\w+)|^type\s+(\w+)|^\t(\w+)\s+(?:struct|interface)\b", re.MULTILINE
)
_GO_IMPORTED = re.compile(rb"""^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([^"\s]+)"[ \t\r]*(?://.*)?$""", re.MULTILINE)
_GO_CODE = re.compile(rb"^(?:func|type|var|const)\b", re.MULTILINE)
_JAVA_DEFINED = re.compile(
    rb"\b(?:class|interface|enum|record)\s+(\w+)"
    rb"|^[ \t]+(?:(?:public|private|protected|static|final|abstract|default|synchronized)\s+)+"
    rb"(?:<[^>\n]+>\s*)?(?:[\w<>\[\],.?]+\s+)?(\w+)\s*\(",
    re.MULTILINE,
)
_JAVA_IMPORTED = re.compile(rb"^import[ \t]+(?:static[ \t]+)?([\w.*]+)", re.MULTILINE)
_RUBY_DEFINED = re.compile(rb"^[ \t]*(?:def[ \t]+(?:self\.)?|class[ \t]+|module[ \t]+)([\w:]+)", re.MULTILINE)
_RUBY_IMPORTED = re.compile(rb"""^[ \t]*(require|require_relative)[ \t(]+["']([^"'\n\s]+)["']""", re.MULTILINE)
_PHP_DEFINED = re.compile(rb"\b(?:class|interface|trait|enum|function)\s+&?(\w+)")
_PHP_IMPORTED = re.compile(rb"^use[ \t]+(?:function[ \t]+|const[ \t]+)?\\?([\w\\]+)", re.MULTILINE)


def _found(pattern: re.Pattern[bytes], code: bytes, end: int | None = None) -> list[bytes]:
    return [found[found.lastindex or 0] for found in pattern.finditer(code, 0, len(code) if end is None else end)]


def _javascript(code: bytes) -> tuple[list[bytes], list[bytes]]:
    names = [name for name in _found(_JS_DEFINED, code) if name not in _JS_WORDS]
    return names, _found(_JS_IMPORTED, code)


def _go(code: bytes) -> tuple[list[bytes], list[bytes]]:
    # Imports end where the code begins: a string alone on a line below is none.
    begin = _GO_CODE.search(code)
    return _found(_GO_DEFINED, code), _found(_GO_IMPORTED, code, begin.start() if begin else None)


def _java(code: bytes) -> tuple[list[bytes], list[bytes]]:
    return _found(_JAVA_DEFINED, code), _found(_JAVA_IMPORTED, code)


def _ruby(code: bytes) -> tuple[list[bytes], list[bytes]]:
    imports = [
        (b"./" if found[1] == b"require_relative" else b"") + found[2] for found in _RUBY_IMPORTED.finditer(code)
    ]
    return [name.rpartition(b"::")[2] for name in _found(_RUBY_DEFINED, code)], imports


def _php(code: bytes) -> tuple[list[bytes], list[bytes]]:
    return _found(_PHP_DEFINED, code), _found(_PHP_IMPORTED, code)


_READERS: dict[str, Callable[[bytes], tuple[list[bytes], list[bytes]]]] = {
    "Python": _python,
    "JavaScript": _javascript,
    "TypeScript": _javascript,
    "TSX": _javascript,
    "Go": _go,
    "Java": _java,
    "Ruby": _ruby,
    "PHP": _php,
}
