"""The notebook of the examples, run by a real Jupyter kernel, and what is expected of a wait that somebody interrupts there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.blocking import BlockingKernelClient
from nbclient import NotebookClient
from nbformat import NotebookNode

from sfjobs.platform import Platform
from tests.support.environment import clean_environment
from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "notebook.ipynb"
SECONDS = 100

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home with the examples in it."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(EXAMPLES, folder / "examples")
    return folder


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    return clean_environment(home, PYTHONWARNINGS="error:::sfjobs")


@pytest.fixture(scope="module")
def executed(home: Path, environment: dict[str, str]) -> NotebookNode:
    """The notebook after all its cells have run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(home / "examples")}})
    return client.execute(env=environment)


def shown(executed: NotebookNode, kind: str) -> list[str]:
    """What the cells show of this MIME type, in their order."""
    return [
        output.data[kind]
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def printed(executed: NotebookNode, stream: str) -> str:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == stream)


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
    assert {cell.execution_count for cell in notebook.cells if cell.cell_type == "code"} == {None}


def test_the_notebook_is_well_formed() -> None:
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_the_notebook_runs_and_complains_of_nothing(executed: NotebookNode) -> None:
    assert printed(executed, "stderr") == ""


@pytest.mark.parametrize("words", ["<b>Device</b>", "<b>Job</b>", "20,000 shots × 8 modes, uint8"])
def test_the_notebook_shows(executed: NotebookNode, words: str) -> None:
    assert words in "".join(shown(executed, "text/html"))


def test_the_notebook_draws_two_pictures(executed: NotebookNode) -> None:
    assert len(shown(executed, "image/png")) == 2


def test_the_notebook_says_why_a_job_is_not_done(executed: NotebookNode) -> None:
    assert "It is not polled, because no call waits for it." in printed(executed, "stdout")


def test_a_cell_of_the_notebook_is_interrupted_and_its_job_is_not(executed: NotebookNode) -> None:
    assert re.search(r"interrupted; the job is (open|queued)", printed(executed, "stdout"))


def test_the_blocking_part_ends_with_samples(executed: NotebookNode) -> None:
    assert "complete (500, 8)" in printed(executed, "stdout")


# -- interrupting --------------------------------------------------------------------------------------------------------


class Kernel:
    """A running kernel, cell by cell."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def begin(self, code: str) -> str:
        return self._client.execute(code)

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def until_printed(self, words: str) -> None:
        """Returns when the running cell has printed ``words``."""
        text = ""
        while words not in text:
            message = self._client.get_iopub_msg(timeout=SECONDS)
            text += message["content"].get("text", "")

    def end(self, cell: str) -> str:
        """The name of the exception that this cell has raised; empty when it ended well."""
        while True:
            reply = self._client.get_shell_msg(timeout=SECONDS)
            if reply["parent_header"]["msg_id"] == cell:
                return str(reply["content"].get("ename", ""))

    def run(self, code: str) -> str:
        return self.end(self.begin(code))


@pytest.fixture
def kernel(home: Path, environment: dict[str, str]) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(home))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


OPEN = """
import logging, sys
import sfjobs, sfjobs.sync
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(name)s: %(message)s")
connection = sfjobs.sync.Connection({url!r}, api_key={api_key!r})
job = connection.create_job("never", "Vac | 0\\nMeasureFock() | 0\\n", shots=1)
"""


@pytest.fixture
def waiting(kernel: Kernel, platform: Platform) -> str:
    """A cell that waits for a job that never ends, and is in the midst of it."""
    assert kernel.run(OPEN.format(url=platform.url, api_key=platform.api_key)) == ""
    cell = kernel.begin("job.wait()")
    kernel.until_printed("sfjobs: GET /jobs/changes 200")
    return cell


def test_interrupting_a_blocking_wait_raises_keyboard_interrupt(kernel: Kernel, waiting: str) -> None:
    kernel.interrupt()
    assert kernel.end(waiting) == "KeyboardInterrupt"


def test_a_connection_is_usable_after_an_interrupted_wait(kernel: Kernel, waiting: str) -> None:
    kernel.interrupt()
    kernel.end(waiting)
    assert kernel.run("job.cancel(); status = job.wait(30); connection.close(); assert status == 'cancelled'") == ""


SILENT = """
import asyncio
import httpx, sfjobs
from tests.support.fake_platform import FakePlatform

def begun():  # called when the cell has nothing left to do but to wait
    asyncio.get_running_loop().call_later(0.2, print, "waiting")

platform = FakePlatform()
settings = platform.settings(poll_interval_min=1000, poll_interval_max=1000)
connection = await sfjobs.Connection(settings=settings, transport=httpx.MockTransport(platform.handle)).__aenter__()
job = await connection.get_job(platform.add(id="never").id)
"""
AWAITING = [
    "await job",
    "await job.wait()",
    "await sfjobs.wait_all([job])",
    "async for ended in sfjobs.as_completed([job]): pass",
    "async for event in connection.events([job]): pass",
    "await asyncio.sleep(1000)",
]


def test_interrupting_a_cell_that_awaits_ends_it_at_once(kernel: Kernel) -> None:
    """The cell went on until something else woke the event loop, here for 1000 s."""
    assert kernel.run(SILENT) == ""
    for statement in AWAITING:
        cell = kernel.begin(f"begun()\n{statement}")
        kernel.until_printed("waiting")
        kernel.interrupt()
        assert (statement, kernel.end(cell)) == (statement, "CancelledError")
    assert (
        kernel.run("platform.jobs['never'].status = 'complete'; await job.refresh(); await connection.aclose()") == ""
    )
