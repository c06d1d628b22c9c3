"""Which files of tests are about a module: those of its subject that run in virtual time, since each mutant runs them again."""

from __future__ import annotations

TESTS = {
    "sfjobs/_tracking": tuple(
        f"tests/tracking/test_{name}.py"
        for name in ("change_feed", "feed_backoff", "feed_listener", "poller", "schedule")
    ),
    "sfjobs/_submission": tuple(
        f"tests/submission/test_{name}.py" for name in ("batches", "create_jobs", "interruptions", "quotas", "recovery")
    ),
    "sfjobs/_journal": ("tests/journal", "tests/client/test_job_group_journal.py"),
    "sfjobs/_http": ("tests/http/test_retry.py", "tests/http/test_rate_limiter.py"),
    "sfjobs/_jobs": (
        "tests/jobs/test_deadline.py",
        "tests/jobs/test_waiting.py",
    ),
}


def tests_of(module: str) -> tuple[str, ...]:
    """Return the tests for a module, ``("tests",)`` for one that has no line above."""
    return TESTS.get(module.rpartition("/")[0], ("tests",))
