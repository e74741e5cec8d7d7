"""Rows of `benches/hf.py`, what they must reach, and their summary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

BARE, ONE = "Encoding.encode_batch", "Encoding.encode"
# Least share of the speed of `BARE` on the same texts, by call and size (issue 20), or of `ONE`,
# of whose time the call may take 1.3 times.
SHARES = {
    "tok(batch)": {"200 characters": 0.4, "4 KB": 0.5},
    "tok(batch, padding, np)": {"200 characters": 0.4, "4 KB": 0.4},
    "tok(text)": {"200 characters": 0.06, "4 KB": 0.25},
    "encode(text).ids": dict.fromkeys(("200 characters", "4 KB", "100 KB"), 1 / 1.3),
}
LEAST_LEAD, LEAST_MEDIAN = 1.0, 1.5
PASSES = ("new", "again")


@dataclass(frozen=True)
class Row:
    """A call: where (shape, corpus, size, threads), and the speeds of each engine with new texts
    and with the same again."""

    place: tuple[str, str, str, int]
    call: str
    speeds: dict[str, tuple[float, float]]
    # Of the speed of the call that `compared_with` names, both with the same texts in turn.
    share: float | None = None

    @property
    def name(self) -> str:
        shape, corpus, size, cores = self.place
        return f"{shape}, {corpus}, {size}, {cores} threads: {self.call}"

    def best(self, at: int) -> tuple[str, float] | None:
        """The fastest peer of a pass, and ours divided by it."""
        peers = {engine: s[at] for engine, s in self.speeds.items() if engine != "ours"}
        if not peers:
            return None
        peer = max(peers, key=lambda engine: peers[engine])
        return peer, self.speeds["ours"][at] / peers[peer]

    def line(self) -> str:
        cells = [f"{engine} {new:.1f}/{again:.1f}" for engine, (new, again) in self.speeds.items()]
        leads = [f"{best[1]:.2f}" for at in (0, 1) if (best := self.best(at))]
        share = "" if self.share is None else f"; share {self.share:.2f}"
        return f"{self.name}: {', '.join(cells)}; {'/'.join(leads)}{share}"


def csv_lines(rows: Iterable[Row]) -> list[str]:
    """A line an engine."""
    lines = ["shape,corpus,size,threads,call,engine,new MB/s,again MB/s"]
    for row in rows:
        where = ",".join(map(str, (*row.place, row.call.replace(",", ""))))
        lines += [f"{where},{e},{new:.1f},{again:.1f}" for e, (new, again) in row.speeds.items()]
    return lines


def summary(rows: list[Row]) -> list[str]:
    """Leads by call and size, then what is below its must."""
    lines = [
        "| call, size | rows | median lead, new | median lead, again | least, new | least, again |",
        "|---|---|---|---|---|---|",
    ]
    compared = [row for row in rows if row.best(0)]
    groups: dict[str, list[Row]] = {}
    for row in compared:
        groups.setdefault(f"{row.call}, {row.place[2]}", []).append(row)
    for group, members in [*sorted(groups.items()), ("all", compared)]:
        if not members:
            continue
        leads = [[best[1] for row in members if (best := row.best(at))] for at in (0, 1)]
        least = [min(members, key=lambda row, at=at: lead(row, at)) for at in (0, 1)]
        worst = [
            f"{lead(row, at):.2f} ({row.place[0]}, {row.place[1]}, {(row.best(at) or '?')[0]})"
            for at, row in enumerate(least)
        ]
        cells = [group, str(len(members)), *(f"{median(each):.2f}" for each in leads), *worst]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *missed(rows)]


def compared_with(call: str) -> str:
    """The call of `bpe_rs.Encoding` of whose speed a call must have a share."""
    return ONE if call == "encode(text).ids" else BARE


def lead(row: Row, at: int) -> float:
    best = row.best(at)
    return best[1] if best else float("inf")


def missed(rows: list[Row]) -> list[str]:
    """What is below its must."""
    lines = []
    for at, name in enumerate(PASSES):
        leads = [best[1] for row in rows if (best := row.best(at))]
        if leads and median(leads) < LEAST_MEDIAN:
            lines.append(f"- {name}: median lead {median(leads):.2f} of {LEAST_MEDIAN}")
        behind = [row for row in rows if lead(row, at) < LEAST_LEAD]
        lines += [
            f"- {name}: {row.name}: {lead(row, at):.2f} of {(row.best(at) or '?')[0]}"
            for row in behind
        ]
    for row in rows:
        must = SHARES.get(row.call, {}).get(row.place[2])
        if must and row.share and row.share < must:
            other = compared_with(row.call)
            lines.append(f"- {row.name}: {row.share:.2f} of {other}, must {must:.2f}")
    return lines or ["Nothing is below its must."]
