"""Charts as tests read them: parsed, their elements by class, and where their words stand."""

from collections.abc import Sequence
from itertools import combinations
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from frostline.report.page.charts.place import Box
from frostline.report.page.charts.svg import measure_text

SPACE = "{http://www.w3.org/2000/svg}"


def read(svg: str) -> Element:
    """Return a chart parsed, all that it draws within its view box."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SPACE}svg"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for x, y in corners(element):
            assert -0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5, element.attrib
    return root


def corners(element: Element) -> list[tuple[float, float]]:
    """Return the places that an element that is seen goes through."""
    get = {
        name: float(element.attrib[name])
        for name in ("x", "y", "cx", "cy", "x1", "y1", "x2", "y2")
        if name in element.attrib
    }
    if element.get("class", "").startswith("hit"):
        return []
    if "cx" in get:
        return [(get["cx"], get["cy"])]
    if "x1" in get:
        return [(get["x1"], get["y1"]), (get["x2"], get["y2"])]
    if "points" in element.attrib:
        pairs = (pair.split(",") for pair in element.attrib["points"].split())
        return [(float(x), float(y)) for x, y in pairs]
    return [(get["x"], get["y"])] if "x" in get else []


def all_of(root: Element, kind: str) -> list[Element]:
    return [element for element in root.iter() if kind in element.get("class", "").split()]


def words(root: Element, *kinds: str) -> list[Box]:
    """Return the boxes that level texts of these classes fill."""
    found = []
    for element in (element for kind in kinds for element in all_of(root, kind)):
        if element.tag == f"{SPACE}text" and "transform" not in element.attrib:
            size = measure_text(element.text or "", 11.5 if "note" in kinds else 13)
            x, y = float(element.attrib["x"]), float(element.attrib["y"])
            left = x - {"end": size, "middle": size / 2}.get(element.get("text-anchor", ""), 0)
            found.append(Box(left, y - 10, left + size, y + 2))
    return found


def touching(boxes: Sequence[Box]) -> list[tuple[Box, Box]]:
    return [pair for pair in combinations(boxes, 2) if pair[0].measure_overlap(pair[1])]
