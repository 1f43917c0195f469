"""Where the error is confined to: slices of some axes, or a piece of memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.profiles import Form, Slices, wrong_slices
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.values import constant, lost_sign, offset, poisoned, scale
from tapml_tui.compare.diagnosis.words import listed, number, plural, where_axis

_DEPTH = 3
_PERIODS = 64
_OFTEN = 0.2
_PART = 0.75
_SHOWN = 2.0
_FEW = 8
_CLEARLY = 3.0
_FILLED = 0.3
_MOSTLY = 0.9
_NEXT_TO_NONE = 0.01
_MOST = {Form.TAIL: 0.75, Form.HEAD: 0.5, Form.RANGE: 0.5}


@dataclass(frozen=True)
class Region:
    """A product of slices.

    Attributes:
        found: Wrong slices of the axes along which the error is confined.
        chosen: Indices of every axis, in what is looked at.
    """

    found: dict[int, Slices]
    chosen: tuple[npt.NDArray[np.intp], ...]


def regional(evidence: Evidence) -> Diagnosis | None:
    """Some slices are wrong and all others agree."""
    region = confined(evidence)
    if region is None or not _holds_all(evidence, region):
        lanes = _lanes_in_memory(evidence)
        if lanes is not None:
            return lanes
    tail = region is not None and any(one.form is Form.TAIL for one in region.found.values())
    if region is None or tail:
        most = evidence.reference.size if region is None else int(np.prod([one.size for one in region.chosen]))
        memory = _in_memory(evidence, most)
        if memory is not None or region is None:
            return memory
    if barely(evidence, region) or lone(evidence, region) or _thin(evidence, region) or _vague(evidence, region):
        return None
    return described(evidence, region)


def barely(evidence: Evidence, region: Region) -> bool:
    """So few elements fail, and others come so near to it, that where they lie may be chance."""
    outside = np.abs(evidence.error)
    worst = outside.max()
    outside[np.ix_(*region.chosen)] = 0.0
    return bool(np.count_nonzero(evidence.bad) < _FEW and worst < _CLEARLY * outside.max())


def _thin(evidence: Evidence, region: Region) -> bool:
    """Too few elements of the region fail to speak of all of it."""
    inside = evidence.bad[np.ix_(*region.chosen)]
    count = int(np.count_nonzero(inside))
    return count < min(2, inside.size // 2) or (count < _FEW and count < _FILLED * inside.size)


def lone(evidence: Evidence, region: Region) -> bool:
    """A single element that was computed, and not left as it was."""
    inside = evidence.actual[np.ix_(*region.chosen)]
    return bool(inside.size == 1 and inside.any())


def _holds_all(evidence: Evidence, region: Region) -> bool:
    return int(np.count_nonzero(evidence.bad[np.ix_(*region.chosen)])) == int(np.count_nonzero(evidence.bad))


def _vague(evidence: Evidence, region: Region) -> bool:
    """Most slices are wrong, and nothing can be said of what is in them: that the others are right says little."""
    if "wrong by" not in _content(evidence.part(region.chosen))[0]:
        return False
    share = max(one.chosen.size / evidence.shape[axis] / _MOST.get(one.form, 1.0) for axis, one in region.found.items())
    return share > 1.0 or _only_large_ones(evidence, region)


def _only_large_ones(evidence: Evidence, region: Region) -> bool:
    """Whether what fails is what is large, and nothing elsewhere is: then size tells as much as the place."""
    size = np.abs(np.where(evidence.finite, evidence.reference, 0.0))
    inside = np.zeros(size.shape, bool)
    inside[np.ix_(*region.chosen)] = True
    least = float(np.quantile(size[evidence.bad], 0.1)) if evidence.bad.any() else 0.0
    large = size >= least
    failing = np.count_nonzero(evidence.bad & large) > _MOSTLY * np.count_nonzero(large & inside)
    return bool(failing and np.count_nonzero(large & ~inside) < _NEXT_TO_NONE * np.count_nonzero(~inside))


def described(evidence: Evidence, region: Region) -> Diagnosis:
    """Says of a region what is in it."""
    forms = [slices.form for slices in region.found.values()]
    inside = evidence.part(region.chosen)
    subject, lasts = subject_of(evidence, region)
    content, blank = _content(inside)
    several = sum(slices.chosen.size for slices in region.found.values()) > len(forms)
    tails = [slices for slices in region.found.values() if slices.form is Form.TAIL]
    if Form.PERIODIC in forms:
        kind = Kind.PERIODIC
    elif tails or (blank and len(forms) == 1 and all(_ends(evidence, *one) for one in region.found.items())):
        kind = Kind.TAIL
    else:
        kind = Kind.SLICE
    verb = "are" if several else "is"
    return Diagnosis(kind, f"{subject}{content.format(verb=verb)}: {lasts or 'all others agree'}")


def _ends(evidence: Evidence, axis: int, found: Slices) -> bool:
    """Whether these are the last of the rows or columns: heads and images are no tiles."""
    return int(found.chosen[-1]) == evidence.shape[axis] - 1 and axis >= len(evidence.shape) - 2


def located(evidence: Evidence, mask: npt.NDArray[np.bool_]) -> str:
    """The slices that hold all of `mask` and are full of it, in words; "" if there are none."""
    marked = replace(evidence, error=np.where(mask, 1e3, 0.0))
    region = confined(marked)
    if region is None or not mask[np.ix_(*region.chosen)].all():
        return ""
    return subject_of(evidence, region)[0]


def confined(evidence: Evidence) -> Region | None:
    """The axes along which the error is confined, found one after the other, each within the last."""
    chosen = [np.arange(size) for size in evidence.shape]
    found: dict[int, Slices] = {}
    energy, bad = np.square(np.minimum(np.abs(evidence.error), 1e6)), evidence.bad
    # Where the reference itself is within the allowance, an unwritten zero is no error.
    shown = bad | _showing(evidence)
    while len(found) < _DEPTH:
        best: tuple[float, int, Slices] | None = None
        for axis, size in enumerate(energy.shape):
            if axis in found or size == 1:
                continue
            slices = _along(energy, bad, shown, axis)
            if slices is not None and found and slices.chosen.size > _PART * size:
                continue  # within slices that are wrong, nearly all of them is no news
            if slices is not None and (best is None or slices.chosen.size / size < best[0]):
                best = slices.chosen.size / size, axis, slices
        if best is None:
            break
        _, axis, slices = best
        found[axis] = slices
        chosen[axis] = slices.chosen
        energy, bad, shown = (array.take(slices.chosen, axis) for array in (energy, bad, shown))
    return Region(dict(sorted(found.items())), tuple(chosen)) if found else None


def _showing(evidence: Evidence) -> npt.NDArray[np.bool_]:
    """Where zeros, or what an earlier call left, would be seen to be wrong."""
    shown = np.abs(evidence.reference) > _SHOWN * evidence.allowance
    for old in evidence.stale:
        shown &= np.abs(old - evidence.reference) > evidence.allowance
    return np.asarray(shown)


def _along(energy: Floats, bad: npt.NDArray[np.bool_], shown: npt.NDArray[np.bool_], axis: int) -> Slices | None:
    others = tuple(other for other in range(energy.ndim) if other != axis)
    elements = energy.size // energy.shape[axis]
    seen = np.asarray(shown.any(axis=others))
    return wrong_slices(energy.mean(axis=others), np.count_nonzero(bad, axis=others), elements, seen)


def subject_of(evidence: Evidence, region: Region) -> tuple[str, str]:
    """What is wrong ("columns 96..127"), and, where that is a tail, of how many ("the last 32 of 128")."""
    subjects, lasts = [], []
    for axis, slices in region.found.items():
        name, size = evidence.names[axis], evidence.sizes[axis]
        indices = evidence.kept[axis][slices.chosen]
        first, last = int(indices[0]), int(indices[-1])
        if indices.size == 1:
            subjects.append(f"{name} {first} of {size}{where_axis(axis, len(evidence.shape))}")
            continue
        if slices.form is Form.PERIODIC:
            lanes = slices.chosen.size / (evidence.shape[axis] / slices.period)
            step = f"every {slices.period}{_th(slices.period)} {name}" if lanes < 1.5 else (
                f"{round(lanes)} of every {slices.period} {plural(name)}"
            )  # fmt: skip
            subjects.append(f"{step} ({', '.join(str(int(i)) for i in indices[:3])}, ...)")
        elif slices.form is Form.SET:
            subjects.append(f"{plural(name)} {listed(indices)} of {size}{where_axis(axis, len(evidence.shape))}")
        else:
            about = "about " if _between(evidence, axis, slices) else ""
            subjects.append(f"{plural(name)} {about}{first}..{last}")
            if slices.form is Form.TAIL:
                lasts.append(f"{about}the last {size - first} of {size}")
            elif slices.form is Form.HEAD:
                lasts.append(f"{about}the first {last + 1} of {size}")
    tile = ", a tile tail" if any(slices.form is Form.TAIL for slices in region.found.values()) else ""
    return ", ".join(subjects), " and ".join(lasts) + tile if lasts else ""


def _between(evidence: Evidence, axis: int, slices: Slices) -> bool:
    """Whether slices were left out where these begin or end."""
    kept, first, last = evidence.kept[axis], int(slices.chosen[0]), int(slices.chosen[-1])
    before = first > 0 and kept[first] - kept[first - 1] > 1
    return bool(before or (last + 1 < kept.size and kept[last + 1] - kept[last] > 1))


def _th(count: int) -> str:
    if 10 < count % 100 < 20:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")


def _content(inside: Evidence) -> tuple[str, bool]:
    """What is in wrong slices, and whether nothing was written there."""
    actual = inside.actual
    if not actual.any():
        return " {verb} zero", True
    if inside.finite.all() and np.ptp(actual) == 0.0 and actual.size > 1:
        poison = poisoned(inside)
        return f" {{verb}} all {number(float(actual.flat[0]))}" + (f" ({poison})" if poison else ""), True
    for old in inside.stale:
        if np.array_equal(old, actual):
            return " {verb} left from an earlier call", True
    for explain in (constant, scale, lost_sign, offset):
        content = explain(inside)
        if content is not None:
            return f" {{verb}} wrong, {content.sentence}", False
    difference = np.abs(actual - inside.reference)[inside.finite]
    return f" {{verb}} wrong by up to {number(float(difference.max(initial=0.0)))}", False


def _lanes_in_memory(evidence: Evidence) -> Diagnosis | None:
    """Everything that fails is every k-th element in memory order, which is no column."""
    columns, bad = evidence.shape[-1], np.flatnonzero(evidence.bad)
    if len(evidence.shape) < 2 or not evidence.whole or bad.size < _FEW:
        return None
    for period in range(2, min(_PERIODS, evidence.reference.size // 4) + 1):
        lane = int(bad[0]) % period
        if columns % period == 0 or bool((bad % period != lane).any()):
            continue
        chosen = np.arange(lane, evidence.reference.size, period)
        if bad.size < _OFTEN * chosen.size or np.unique(bad // columns).size * 2 * columns < evidence.reference.size:
            return None
        flat, region = evidence.flattened(), Region({0: Slices(Form.PERIODIC, chosen, period)}, (chosen,))
        content, _ = _content(flat.part(region.chosen))
        subject = f"{subject_of(flat, region)[0]} in memory order"
        return Diagnosis(Kind.PERIODIC, f"{subject}{content.format(verb='is')}: all others agree")
    return None


def _in_memory(evidence: Evidence, most: int) -> Diagnosis | None:
    """A tail, or every k-th element, of the whole array in memory order, of fewer than `most` elements."""
    if len(evidence.shape) < 2 or not evidence.whole:
        return None
    energy, bad = np.square(np.minimum(np.abs(evidence.error), 1e6)).reshape(-1), evidence.bad.reshape(-1)
    shown = bad | _showing(evidence).reshape(-1)
    found = wrong_slices(energy, bad.astype(np.intp), 1, shown)
    if found is None or found.form not in (Form.TAIL, Form.PERIODIC, Form.HEAD) or found.chosen.size >= 0.95 * most:
        return None
    flat = evidence.flattened()
    region = Region({0: found}, (found.chosen,))
    if barely(flat, region) or _thin(flat, region):
        return None
    subject, lasts = subject_of(flat, region)
    content, _ = _content(flat.part(region.chosen))
    kind = Kind.PERIODIC if found.form is Form.PERIODIC else Kind.TAIL if found.form is Form.TAIL else Kind.SLICE
    return Diagnosis(kind, f"{subject} in memory order{content.format(verb='are')}: {lasts or 'all others agree'}")
