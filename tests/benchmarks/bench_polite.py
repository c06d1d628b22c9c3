"""
Two hundred jobs (submitted one by one, waited for, results fetched) on a platform with a rate limit of five requests a second:
how many 429 responses a client causes within a minute, and which share of the allowed requests it uses.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .arena import QUICK, Broken, Contestant, Course, FastPlatform, Table, compete

JOBS = 50 if QUICK else 200
RATE = 5.0
BOUND = 20.0 if QUICK else 60.0
LIFETIME = 3.0

SUBMITS = {"submits": True}
CONTESTANTS = [
    Contestant("sfjobs, feed", "polite_sfjobs", SUBMITS, {"feed": True, "batches": True}),
    Contestant("sfjobs, list", "polite_sfjobs", SUBMITS),
    Contestant("httpx, tries again", "polite_httpx", SUBMITS),
]


@dataclass(frozen=True, slots=True)
class Row:
    """
    Requests accepted and rejected until the end or ``BOUND`` seconds. ``share`` is relative to the requests that the limit allows
    in that time; ``raised`` counts the errors that reached the program.
    """

    client: str
    seconds: float
    submitted: int
    results: int
    accepted: int
    limited: int
    share: float
    raised: int
    note: str


def run() -> list[Row]:
    """Measure all contestants once: the limit determines the time, not the machine."""
    with FastPlatform() as platform:
        return [_row(platform, contestant) for contestant in CONTESTANTS]


def _row(platform: FastPlatform, contestant: Contestant) -> Row:
    course = Course(JOBS, bound=BOUND, scenario={"rate": RATE, "lifetime": LIFETIME})
    try:
        outcome = compete(platform, contestant, course)
    except Broken as broken:
        return Row(contestant.name, float("nan"), 0, 0, 0, 0, float("nan"), 0, str(broken))
    seconds, progress, limited = (
        outcome.client_report["wall"],
        outcome.client_report["progress"],
        outcome.requests.get("limited", 0),
    )
    accepted = outcome.sent - limited - outcome.requests.get("token", 0)
    return Row(
        client=contestant.name,
        seconds=seconds,
        submitted=progress["submitted"],
        results=progress["results"],
        accepted=accepted,
        limited=limited,
        share=accepted / (RATE * (seconds + 1)),  # the bucket starts with the requests of one second
        raised=progress["raised"],
        note="" if outcome.client_report["finished"] else f"stopped after {BOUND:.0f} s",
    )


def main() -> dict[str, object]:
    """Print a table and return it for a file of results."""
    rows = run()
    title = f"{JOBS} jobs of {LIFETIME:g} s at {RATE:g} requests/s"
    heads = ["client", "seconds", "submitted", "results", "accepted", "429s", "share used", "raised", "note"]
    table = Table(title, *heads)
    for row in rows:
        table.row(
            row.client,
            row.seconds,
            row.submitted,
            row.results,
            row.accepted,
            row.limited,
            row.share,
            row.raised,
            row.note,
        )
    return {"name": "polite", "rows": [asdict(row) for row in rows]}


if __name__ == "__main__":
    main()
