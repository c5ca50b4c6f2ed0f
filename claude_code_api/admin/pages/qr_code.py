"""QR codes (ISO/IEC 18004) as SVG within a page: bytes, level M, versions 1 to 10, as a second factor needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

Matrix = list[list[bool]]

MOST_BYTES = 213
_BLOCKS = {
    1: (10, (16,)), 2: (16, (28,)), 3: (26, (44,)), 4: (18, (32,) * 2), 5: (24, (43,) * 2), 6: (16, (27,) * 4),
    7: (18, (31,) * 4), 8: (22, (38, 38, 39, 39)), 9: (22, (36, 36, 36, 37, 37)), 10: (26, (43,) * 4 + (44,)),
}  # fmt: skip
"""Of each version: error-correction codewords of a block, and the data codewords of each block (table 9)."""
_ALIGNMENT = {2: (6, 18), 3: (6, 22), 4: (6, 26), 5: (6, 30), 6: (6, 34), 7: (6, 22, 38), 8: (6, 24, 42),
              9: (6, 26, 46), 10: (6, 28, 50)}  # fmt: skip
_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda y, x: (y + x) % 2 == 0,
    lambda y, x: y % 2 == 0,
    lambda y, x: x % 3 == 0,
    lambda y, x: (y + x) % 3 == 0,
    lambda y, x: (y // 2 + x // 3) % 2 == 0,
    lambda y, x: y * x % 2 + y * x % 3 == 0,
    lambda y, x: (y * x % 2 + y * x % 3) % 2 == 0,
    lambda y, x: ((y + x) % 2 + y * x % 3) % 2 == 0,
)
_QUIET = 4  # modules around it


def qr_code(text: str, label: str) -> Markup:
    """The code of a text of at most `MOST_BYTES`, else ValueError; `label` is what screen readers say."""
    modules = matrix(text.encode())
    size = len(modules) + 2 * _QUIET
    picture = Element("svg", {"class": "qr", "role": "img", "aria-label": label, "viewBox": f"0 0 {size} {size}"})
    SubElement(picture, "rect", {"class": "light"}, width=str(size), height=str(size))
    runs = []
    for y, row in enumerate(modules):
        x = 0
        for dark, run in groupby(row):
            width = len(list(run))
            if dark:
                runs.append(f"M{x + _QUIET} {y + _QUIET}h{width}v1h-{width}z")
            x += width
    SubElement(picture, "path", {"class": "dark", "shape-rendering": "crispEdges"}, d="".join(runs))
    return Markup(tostring(picture, encoding="unicode"))  # noqa: S704 - made of elements, so its text is escaped


def matrix(data: bytes) -> Matrix:
    """The modules, dark ones True, under the mask that scanners read best."""
    version = next((v for v, (_, blocks) in _BLOCKS.items() if len(data) <= sum(blocks) - (2 if v < 10 else 3)), None)
    if version is None:
        raise ValueError(f"{len(data)} bytes are too many for a QR code here")
    modules, fixed = _patterns(version)
    places = [place for place in _zigzag(len(modules)) if not fixed[place[0]][place[1]]]
    bits = [bit for word in _codewords(data, version) for bit in _bits(word, 8)]
    for (y, x), bit in zip(places, bits, strict=False):  # the few places that remain stay light
        modules[y][x] = bit
    masked = []
    for number, mask in enumerate(_MASKS):
        tried = [list(row) for row in modules]
        for y, x in places:
            tried[y][x] ^= mask(y, x)
        _write_format(tried, number)
        masked.append(tried)
    return min(masked, key=_penalty)


# --- codewords --------------------------------------------------------------------------------------------


def _codewords(data: bytes, version: int) -> list[int]:
    """Data and error correction, their blocks interleaved."""
    correction, lengths = _BLOCKS[version]
    size = sum(lengths)
    bits = [*_bits(4, 4), *_bits(len(data), 8 if version < 10 else 16)]
    bits += [bit for byte in data for bit in _bits(byte, 8)]
    bits += [False] * min(4, size * 8 - len(bits))
    bits += [False] * (-len(bits) % 8)
    words = [sum(bit << 7 - i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)]
    words += [0xEC if number % 2 == 0 else 0x11 for number in range(size - len(words))]
    blocks, at = [], 0
    for length in lengths:
        blocks.append(words[at : at + length])
        at += length
    corrections = [_remainder(block, correction) for block in blocks]
    mixed = [block[i] for i in range(max(lengths)) for block in blocks if i < len(block)]
    return mixed + [block[i] for i in range(correction) for block in corrections]


def _remainder(block: list[int], length: int) -> list[int]:
    """Reed and Solomon's, over GF(256) with the polynomial 0x11D."""
    generator, root = [1], 1
    for _ in range(length):
        generator = [a ^ _product(b, root) for a, b in zip([*generator, 0], [0, *generator], strict=True)]
        root = _product(root, 2)
    left = block + [0] * length
    for at in range(len(block)):
        factor = left[at]
        for i, coefficient in enumerate(generator):
            left[at + i] ^= _product(coefficient, factor)
    return left[-length:]


def _product(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


# --- modules ----------------------------------------------------------------------------------------------


def _patterns(version: int) -> tuple[Matrix, Matrix]:
    """The modules that every code of a version has, and which those are."""
    size = 17 + 4 * version
    modules = [[False] * size for _ in range(size)]
    fixed = [[False] * size for _ in range(size)]

    def put(y: int, x: int, dark: bool) -> None:
        if 0 <= y < size and 0 <= x < size:
            modules[y][x], fixed[y][x] = dark, True

    for number in range(size):
        put(6, number, number % 2 == 0)
        put(number, 6, number % 2 == 0)
    for centre_y, centre_x in ((3, 3), (3, size - 4), (size - 4, 3)):
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                put(centre_y + dy, centre_x + dx, max(abs(dy), abs(dx)) not in {2, 4})
    centres = _ALIGNMENT.get(version, ())
    for centre_y in centres:
        for centre_x in centres:
            if (centre_y, centre_x) not in {(6, 6), (6, size - 7), (size - 7, 6)}:
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        put(centre_y + dy, centre_x + dx, max(abs(dy), abs(dx)) != 1)
    for number in range(9):  # kept for the format
        for y, x in ((8, number), (number, 8), (8, size - 1 - min(number, 7)), (size - 1 - min(number, 7), 8)):
            if not fixed[y][x]:
                put(y, x, False)
    put(size - 8, 8, True)
    if version >= 7:
        for number, bit in enumerate(reversed(list(_bits(version << 12 | _division(version, 12, 0x1F25), 18)))):
            put(number // 3, size - 11 + number % 3, bit)
            put(size - 11 + number % 3, number // 3, bit)
    return modules, fixed


def _zigzag(size: int) -> Iterator[tuple[int, int]]:
    """The order in which data are written: in columns of two from the right, up and down in turn."""
    upwards = True
    for right in range(size - 1, 0, -2):
        right -= right <= 6  # the column of the timing pattern is left out
        for y in range(size - 1, -1, -1) if upwards else range(size):
            yield y, right
            yield y, right - 1
        upwards = not upwards


def _write_format(modules: Matrix, mask: int) -> None:
    size = len(modules)
    bits = list(_bits((mask << 10 | _division(mask, 10, 0x537)) ^ 0x5412, 15))  # level M is 00
    first = [(8, x) for x in (0, 1, 2, 3, 4, 5, 7, 8)] + [(y, 8) for y in (7, 5, 4, 3, 2, 1, 0)]
    second = [(size - 1 - i, 8) for i in range(7)] + [(8, size - 8 + i) for i in range(8)]
    for places in (first, second):
        for (y, x), bit in zip(places, bits, strict=True):
            modules[y][x] = bit


def _division(value: int, length: int, divisor: int) -> int:
    """What remains of value, `length` bits further left, divided by a polynomial over two elements."""
    left = value << length
    while left.bit_length() > length:
        left ^= divisor << left.bit_length() - divisor.bit_length()
    return left


def _bits(value: int, length: int) -> Iterator[bool]:
    return (bool(value >> shift & 1) for shift in range(length - 1, -1, -1))


def _penalty(modules: Matrix) -> int:
    """How hard a scanner finds it (7.8.3): long runs, blocks, what looks like a corner, one colour above the other."""
    size = len(modules)
    columns = [list(column) for column in zip(*modules, strict=True)]
    penalty = 0
    for line in (*modules, *columns):
        penalty += sum(length - 2 for _, run in groupby(line) if (length := len(list(run))) >= 5)
        text = "".join("#" if dark else "." for dark in line)
        for corner in ("#.###.#....", "....#.###.#"):
            penalty += 40 * sum(text.startswith(corner, at) for at in range(size))
    for y in range(size - 1):
        for x in range(size - 1):
            block = {modules[y][x], modules[y][x + 1], modules[y + 1][x], modules[y + 1][x + 1]}
            penalty += 3 * (len(block) == 1)
    dark = sum(map(sum, modules)) * 100 / size**2
    return penalty + 10 * int(abs(dark - 50) // 5)
