"""The progress of many jobs in the cells of a real Jupyter kernel: in the cell that waits, updated in place."""

from __future__ import annotations

import os

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from sfjobs.platform import serving
from tests.support.paths import ROOT

SECONDS = 100

pytestmark = pytest.mark.real_time

SETUP = """
import sfjobs
from sfjobs import sync
program = "Sgate(0.5) | 0\\nMeasureFock() | 0\\n"
connection = sync.Connection({url!r}, api_key={api_key!r})
jobs = [connection.create_job("simulon_gaussian", program, shots=10) for _ in range(10)]
never = connection.create_job("never", program, shots=1)
"""
BLOCKING = "sync.wait_all(jobs, progress=True)"
BLOCKING_IN_A_LATER_CELL = "print('before'); sync.wait_all(jobs[:3], progress=True); print('after')"
AWAITED = """
async with sfjobs.Connection(connection.settings.url, api_key=KEY) as other:
    again = [sfjobs.Job(job.id, "open", other) for job in jobs]
    await sfjobs.wait_all(again, progress=True, fetch_results=False)
"""
GIVEN_UP = """
try:
    sync.wait_all([never, *jobs], timeout=1.0, progress=True)
except sfjobs.WaitTimeoutError:
    pass
"""
TWICE = "sync.wait_all(jobs[:1], progress=True); sync.wait_all(jobs[:2], progress=True); None"
CELLS = {
    "blocking": BLOCKING,
    "later": BLOCKING_IN_A_LATER_CELL,
    "awaited": AWAITED,
    "given up": GIVEN_UP,
    "twice": TWICE,
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NotebookNode]:
    """The cells by their names, after all of them have run."""
    ours = ("SFJOBS_", "XANADU_CLOUD_", "SF_", "XDG_", "PYTHON", "JUPYTER", "IPYTHON")
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error:::sfjobs"}
    with serving(test_targets=True) as platform:
        setup = SETUP.format(url=platform.url, api_key=platform.api_key)
        sources = [setup, *(source.replace("KEY", repr(platform.api_key)) for source in CELLS.values())]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": home}}
        )
        executed = client.execute(env=environment)
    return dict(zip(CELLS, executed.cells[1:], strict=True))


def shown(cell: NotebookNode) -> list[dict[str, str]]:
    """What this cell displays, by MIME type, as it is after all updates."""
    return [output.data for output in cell.outputs if output.output_type == "display_data"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blocking", "10 of 10 jobs ended after "),
        ("later", "3 of 3 jobs ended after "),
        ("awaited", "10 of 10 jobs ended after "),
        ("given up", "10 of 11 jobs ended · 1 queued after "),
    ],
)
def test_the_cell_that_waits_shows_one_line_and_a_bar(cells: dict[str, NotebookNode], name: str, words: str) -> None:
    [data] = shown(cells[name])
    assert data["text/plain"].startswith(words)
    assert words in data["text/html"]
    assert '<div class="sfjobs-bar"><div style="width:' in data["text/html"]


def test_two_waits_of_a_cell_show_two_lines(cells: dict[str, NotebookNode]) -> None:
    lines = [data["text/plain"] for data in shown(cells["twice"])]
    assert [text.partition(" jobs")[0].partition(" job")[0] for text in lines] == ["1 of 1", "2 of 2"]


def test_what_a_cell_prints_stays_in_its_place(cells: dict[str, NotebookNode]) -> None:
    kinds = [output.output_type for output in cells["later"].outputs]
    assert kinds == ["stream", "display_data", "stream"]


@pytest.mark.parametrize("name", CELLS)
def test_nothing_is_written_to_stderr(cells: dict[str, NotebookNode], name: str) -> None:
    assert [output for output in cells[name].outputs if output.get("name") == "stderr"] == []
