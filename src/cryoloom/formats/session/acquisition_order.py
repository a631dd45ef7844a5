"""Order in which the images of a series were taken: one rule decides between all sources.

A source gives each image a key (a time, a number in a name, a dose), or none. One whose keys are all the same
is ignored. The strong sources are the clock (DateTime), the number and the time in a movie's name, and
PriorRecordDose; the line of the file is a weak one, because files are sorted.

1. Sources that contradict each other in no pair of images form a party. The party with most sources wins.
2. Of parties of one size the one whose order is not simply that of the angles wins: sorting by angle is what
   other programs do to files, names and times.
3. Else the earlier in the list above wins.

An image without a key of the first source is placed by the other sources of its party, or by its line in the
file where lines follow the order of all others. An image that nothing places is named, and the series
refused: its dose would be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cryoloom.errors import DataUnfitError
from cryoloom.model.evidence import Evidence, Source

__all__ = ["OrderSource", "by_scheme", "decide_order", "is_sorted"]

Keys = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class OrderSource:
    """A key for each image, in the order of the file; None if the source does not give one."""

    name: str
    keys: Keys

    @property
    def n_keys(self) -> int:
        """Images with a key."""
        return sum(key is not None for key in self.keys)

    @property
    def is_informative(self) -> bool:
        """Whether any two images differ."""
        return len({key for key in self.keys if key is not None}) > 1

    def contradicts(self, other: OrderSource) -> int:
        """Number of pairs of images that the two sources order oppositely."""
        both = [(a, b) for a, b in zip(self.keys, other.keys, strict=True) if a is not None and b is not None]
        return sum((a1 - a2) * (b1 - b2) < 0 for i, (a1, b1) in enumerate(both) for a2, b2 in both[:i])


def decide_order(
    tilt_deg: Sequence[float],
    strong: Sequence[OrderSource],
    names: Sequence[str],
    *,
    scheme: str | None = None,
) -> tuple[list[int], Evidence]:
    """Places in the file in order of acquisition, and the evidence.

    strong : sources by preference. names : what to call an image in a message. scheme : how the user says
    the images were taken, used where no strong source gives an order.

    Raises DataUnfitError if an image has no place, or where nothing but a file sorted by angle gives any.
    """
    n = len(tilt_deg)
    line = OrderSource("order of the file", tuple(float(i) for i in range(n)))
    counted = [source for source in strong if source.is_informative]
    sources = tuple(_as_evidence(source) for source in strong if source.n_keys)
    if not counted:
        return _by_line(tilt_deg, line, sources, scheme)
    party = _party(counted, tilt_deg)
    order = _placed(party, line, names)
    against = [source for source in counted if source not in party]
    note = _contradiction(party, against, order, names) or _tie(party, order, names)
    described = (*sources, Source(line.name, _described(line), "files are sorted by other programs"))
    return order, Evidence("order of acquisition", _first_few(order, names), party[0].name, described, note)


def _party(counted: Sequence[OrderSource], tilt_deg: Sequence[float]) -> list[OrderSource]:
    parties: list[list[OrderSource]] = []
    for source in counted:
        for party in parties:
            if not any(source.contradicts(other) for other in party):
                party.append(source)
                break
        else:
            parties.append([source])
    return max(parties, key=lambda party: (len(party), not _follows_angles(party[0], tilt_deg)))


def _follows_angles(source: OrderSource, tilt_deg: Sequence[float]) -> bool:
    """Whether its order is that of ascending or descending angles."""
    known = sorted((key, tilt) for key, tilt in zip(source.keys, tilt_deg, strict=True) if key is not None)
    return is_sorted([tilt for _, tilt in known])


def is_sorted(tilt_deg: Sequence[float]) -> bool:
    """Whether angles only ascend or only descend."""
    steps = [b - a for a, b in pairwise(tilt_deg)]
    return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def _placed(party: Sequence[OrderSource], line: OrderSource, names: Sequence[str]) -> list[int]:
    """All images in order: by the source that knows most, the others placed among them one by one."""
    first = max(party, key=lambda source: (source.n_keys, -party.index(source)))
    rest = [source for source in party if source is not first]
    if not any(source.contradicts(line) for source in party):
        rest.append(line)  # lines agree with all that is known, so that they may break ties and fill gaps

    def key(i: int) -> tuple[float, ...]:
        return (float(first.keys[i] or 0.0), *_ties(i, rest))

    order = sorted((i for i, known in enumerate(first.keys) if known is not None), key=key)
    for i in (i for i, known in enumerate(first.keys) if known is None):
        source = next((s for s in rest if s.keys[i] is not None and s.n_keys > 1), None)
        if source is None:
            raise DataUnfitError(
                f"no source gives when {names[i]} was taken ({first.name} knows all others); add its "
                "DateTime "
                "or PriorRecordDose to the mdoc, or leave the image out"
            )
        own = float(source.keys[i] or 0.0)
        before = [
            place for place, j in enumerate(order) if (k := source.keys[j]) is not None and float(k) < own
        ]
        order.insert(max(before) + 1 if before else 0, i)
    return order


def _ties(i: int, rest: Sequence[OrderSource]) -> tuple[float, ...]:
    """Keys of the sources that know every image: they part images of one and the same time."""
    complete = [source.keys for source in rest if source.n_keys == len(source.keys)]
    return (*(float(keys[i] or 0.0) for keys in complete), float(i))


def _by_line(
    tilt_deg: Sequence[float], line: OrderSource, sources: tuple[Source, ...], scheme: str | None
) -> tuple[list[int], Evidence]:
    if scheme is not None:
        order = by_scheme(tilt_deg, scheme)
        given = Source("user", scheme)
        return order, Evidence("order of acquisition", scheme, "user", (given, *sources))
    if len(tilt_deg) > 2 and _follows_angles(line, tilt_deg):
        raise DataUnfitError(
            "the order in which the images were taken is not known: no times, prior doses or numbers in "
            "names can be read, and the file is sorted by angle; give scheme (dose_symmetric, ascending or "
            "descending)"
        )
    evidence = Evidence(
        "order of acquisition",
        "as in the file",
        line.name,
        (*sources, Source(line.name, "not sorted by angle")),
        "images have no times; taken to be acquired in the order of the file",
    )
    return list(range(len(tilt_deg))), evidence


def by_scheme(tilt_deg: Sequence[float], scheme: str) -> list[int]:
    """Places in order of a usual scheme; of images equally tilted the one that comes first in the file."""
    sign = {"ascending": 1.0, "descending": -1.0}.get(scheme)
    key = [abs(tilt) if sign is None else sign * tilt for tilt in tilt_deg]
    return sorted(range(len(tilt_deg)), key=key.__getitem__)


def _as_evidence(source: OrderSource) -> Source:
    n_missing = len(source.keys) - source.n_keys
    why_not = "" if source.is_informative else "the same for all images"
    says = _described(source) + (f"; {n_missing} images have none" if n_missing else "")
    return Source(source.name, says, why_not)


def _described(source: OrderSource) -> str:
    """Places in the file of the first images by this source."""
    with_key = [(key, i) for i, key in enumerate(source.keys) if key is not None]
    return (
        "images " + ", ".join(str(i) for _, i in sorted(with_key)[:5]) + (" ..." if len(with_key) > 5 else "")
    )


def _first_few(order: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(names[i] for i in order[:3]) + (" ..." if len(order) > 3 else "")


def _tie(party: Sequence[OrderSource], order: Sequence[int], names: Sequence[str]) -> str:
    """Note on images to which all sources assign the same place."""
    for a, b in pairwise(order):
        pairs = [(source.keys[a], source.keys[b]) for source in party]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        if known and all(x == y for x, y in known):
            return (
                f"{party[0].name} gives {names[a]} and {names[b]} the same place; they are taken in the "
                "order of the file. Is one of them of another series, or taken again?"
            )
    return ""


def _contradiction(
    party: Sequence[OrderSource], against: Sequence[OrderSource], order: Sequence[int], names: Sequence[str]
) -> str:
    if not against:
        return ""
    other = against[0]
    theirs = min((key, i) for i, key in enumerate(other.keys) if key is not None)[1]
    by = " and ".join(source.name for source in party)
    why = (
        f"{len(party)} sources agree"
        if len(party) > 1
        else "it is not the order of the angles, as sorting makes it, or is recorded more directly"
    )
    return (
        f"{by} and {' and '.join(source.name for source in against)} give different orders (first "
        f"{names[order[0]]} or {names[theirs]}); {party[0].name} is used because {why}"
    )
