"""
Real processes that are killed at random moments, and a platform that loses responses: no job is lost, and none is made twice.
Random numbers have a fixed seed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash_client import JOBS, NOT_DONE, name
from tests.support.faulty_platform import MOMENTS, Death, FaultyPlatform, faulty_platform
from tests.support.journals import rows
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked"),
]

KILLS = 60
LOSS = 0.3


class Clients:
    """The process that forks the clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, platform: FaultyPlatform, journal: Path, *, how: str, most: int, death: tuple[int, Any, float] | None
    ) -> int:
        """Run the next client. Returns its exit code, negative for a signal."""
        self._write(json.dumps({"url": platform.url, "journal": str(journal), "most": most, "how": how}))
        pid = self._read()
        platform.death = None if death is None else Death(pid, *death)
        self._write("go")
        return self._read()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(json.loads(self._process.stdout.readline()))


@pytest.fixture
def clients() -> Iterator[Clients]:
    command = [sys.executable, "-m", "tests.support.crash_client"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Clients(process)


@pytest.mark.parametrize(
    ("how", "batches"),
    [("by names", False), ("by names", True), ("as a group", False)],
    ids=["by names", "by names, in batches", "as a group"],
)
def test_a_thousand_submissions_through_sixty_crashes_make_a_thousand_jobs(
    tmp_path: Path, clients: Clients, how: str, batches: bool
) -> None:
    draw = random.Random(20261125 + batches)
    journal = tmp_path / "submissions.db"
    kills = runs = 0
    with faulty_platform(loss=LOSS, seed=7, batches=batches) as platform:
        while True:
            death = (draw.randint(1, 12), draw.choice(MOMENTS), draw.uniform(0, 0.01))
            ended = clients.run(
                platform,
                journal,
                how=how,
                most=draw.randint(1, 30) if kills < KILLS else JOBS,
                death=death if kills < KILLS else None,
            )
            runs += 1
            assert ended in (0, NOT_DONE, -signal.SIGKILL), "the client failed"
            kills += ended == -signal.SIGKILL
            if ended == 0:
                break
            assert runs < 20 * KILLS
        made = len(platform.board)
        names = platform.names
        ids = [json.loads(platform.board.text(index))["id"] for index in range(made)]
    assert kills >= 50
    assert platform.lost >= 20
    assert sorted(map(str, names)) == [name(number) for number in range(JOBS)]
    written = rows(journal)
    assert {row["job_id"]: row["name"] for row in written if row["state"] == "submitted"} == dict(
        zip(ids, names, strict=True)
    )
    assert [row for row in written if row["state"] == "open"] == []
