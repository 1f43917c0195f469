"""JUnit XML, as CI servers read it: one test suite per case, one test per node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.etree import ElementTree

from tapml_tui.engine.table import name_of
from tapml_tui.headless.entries import Entry

# What XML 1.0 cannot carry even escaped (https://www.w3.org/TR/xml/#charsets), and the C1 controls, which it may
# carry and a terminal would obey.
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(entries: Sequence[Entry], *, strict: bool) -> bytes:
    """The entries as a JUnit document, UTF-8; each case is a suite, on each target if there are several.

    Args:
        entries: Of one check, the entries of a case and target side by side.
        strict: Whether an unsupported node is a failure, as with `check --strict`, or a skipped test.
    """
    root = ElementTree.Element("testsuites", name="tapml-tui check")
    several = len({entry["backend"] for entry in entries}) > 1
    for (graph, case, backend), group in groupby(entries, key=lambda e: (e["graph"], e["case"], e["backend"])):
        where = f" on {name_of(backend)}" if several else ""
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(f"{graph}: {case}{where}"))
        tests = [_test(entry, strict=strict) for entry in group]
        suite.extend(tests)
        _count(suite, tests)
    _count(root, root.iter("testcase"))
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _test(entry: Entry, *, strict: bool) -> ElementTree.Element:
    test = ElementTree.Element(
        "testcase",
        classname=_clean(".".join(part for part in (entry["graph"], entry["module"]) if part)),
        name=_clean(entry["id"]),
        time=f"{entry['ms'] / 1000:.6f}",
    )
    tag = {
        "failed": "failure",
        "error": "error",
        "unsupported": "failure" if strict else "skipped",
        "not_run": "skipped",
    }.get(entry["status"])
    if tag is not None:
        kind = entry["verdict"] or entry["status"]
        diagnosis = entry["diagnosis"]
        message = f"{diagnosis['sentence']}; {entry['reason']}" if diagnosis else entry["reason"]
        ElementTree.SubElement(test, tag, type=_clean(kind), message=_clean(message))
    if entry["override"]:
        properties = ElementTree.SubElement(test, "properties")
        ElementTree.SubElement(properties, "property", name="override", value=_clean(entry["override"]))
    return test


def _count(element: ElementTree.Element, tests: Iterable[ElementTree.Element]) -> None:
    listed = list(tests)
    element.set("tests", str(len(listed)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(test.find(tag) is not None for test in listed)))
    element.set("time", f"{sum(float(test.get('time', '0')) for test in listed):.6f}")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
