"""
dwave-cloud-client submits problems to a solver and receives them as they complete, with their results, which its interface always
fetches. Its default is a long poll; with the option ``backoff`` it polls each second instead.
"""

from __future__ import annotations

from dwave.cloud import Client
from dwave.cloud.computation import Future

from ..contest import CADENCE, Run


def main() -> None:
    run = Run.from_command_line()
    task = run.task
    how: dict[str, object] = {}
    if task.options.get("backoff"):
        how = {"poll_strategy": "backoff", "poll_backoff_min": CADENCE, "poll_backoff_max": CADENCE}
    client = Client(endpoint=f"{task.url}/sapi/v2/", token=task.api_key, cache_enabled=False, **how)
    solver = client.get_solver()
    futures = [solver.sample_qubo({(0, 0): 1.0}, num_reads=100) for _ in range(task.jobs)]
    for future in futures:
        future.wait_id()
    run.begin()
    for future in Future.as_completed(futures):
        future.result()
        run.saw(future.id)
    run.end()


if __name__ == "__main__":
    main()
