"""Formulas as MathML, which browsers draw themselves: no script, no font and no network at view time.

Read in order: `mathml` for our own text (the site), `mathml_of_others` for what students write (formgrader).
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from latex2mathml.converter import convert

NAMED = {r"\tfrac": r"\frac", r"\lvert": "|", r"\rvert": "|", r"\Big|": "|", r"\big|": "|"}
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ELEMENTS = "math mrow mi mn mo ms mtext mspace mstyle mpadded mphantom menclose mfrac msqrt mroot msub msup "
ELEMENTS += "msubsup munder mover munderover mtable mtr mtd"
ELEMENTS = {f"{{{NAMESPACE}}}{name}" for name in ELEMENTS.split()}
ATTRIBUTES = "display displaystyle scriptlevel mathvariant stretchy fence separator lspace rspace width "
ATTRIBUTES += "form movablelimits minsize maxsize linethickness accent columnalign mathcolor"
ATTRIBUTES = set(ATTRIBUTES.split())
LONGEST = 2000  # characters of one formula
ElementTree.register_namespace("", NAMESPACE)


def mathml(tex: str, display: str) -> str:
    r"""MathML of a formula; what the converter does not know is written in what it does know.

    `{\rm cut}` is old TeX: a switch inside a group.
    """
    for name, plain in NAMED.items():
        tex = re.sub(re.escape(name) + r"(?![a-zA-Z])", lambda _, plain=plain: plain, tex)
    tex = re.sub(r"\{\\rm\s+([^{}]*)\}", r"\\mathrm{\1}", tex)
    bold = r'<mi mathvariant="bold">([A-Za-z])</mi>'
    return re.sub(bold, lambda found: f"<mi>{_bold(found[1])}</mi>", convert(tex, display=display))


def mathml_of_others(tex: str, display: str) -> str | None:
    r"""MathML of a formula that anybody may have written; None if it cannot be converted, or not safely.

    The converter passes on what stands in \text, tags and all. So its answer is read as XML, and what is kept
    are elements and attributes of mathematics: no script, address, style or event.
    """
    if len(tex) > LONGEST:
        return None
    try:
        tree = ElementTree.fromstring(mathml(tex, display))
    except Exception:  # of the converter, which has many kinds, or of the reader
        return None
    for element in tree.iter():
        if element.tag not in ELEMENTS:
            return None
        element.attrib = {key: value for key, value in element.attrib.items() if key in ATTRIBUTES}
    return ElementTree.tostring(tree, encoding="unicode")


def _bold(letter: str) -> str:
    """The mathematical bold letter: browsers do not know `mathvariant="bold"`."""
    upper = letter.isupper()
    return chr((0x1D400 if upper else 0x1D41A) + ord(letter) - ord("A" if upper else "a"))
