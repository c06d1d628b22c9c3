"""The live line: its text, its width, and how it is written to terminals, logs and notebooks, all of them fakes."""

from __future__ import annotations

import io
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from sfjobs._progress.displays import Display, LogDisplay, NotebookDisplay, TerminalDisplay, fitting_display
from sfjobs._progress.tally import Progress
from sfjobs._progress.text import COMMA, LogSchedule, duration, last_line, line
from sfjobs._util.html import progress_html

MIDST = Progress(total=5000, complete=1228, failed=12, running=310, queued=3450, rate=41.2, left=91.7, elapsed=30.0)
END = Progress(total=5000, complete=4980, failed=12, cancelled=8, elapsed=122.6)


def began(elapsed: float = 0.0) -> Progress:
    return Progress(total=10, queued=10, elapsed=elapsed)


# -- text ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (MIDST, "1,240 of 5,000 jobs ended (12 failed) · 310 running · 3,450 queued · 41/s · about 1 min 32 s left"),
        (END, "5,000 of 5,000 jobs ended (12 failed, 8 cancelled)"),
        (began(), "0 of 10 jobs ended · 10 queued"),
        (Progress(total=1, running=1), "0 of 1 job ended · 1 running"),
        (Progress(total=3, unpolled=3), "0 of 3 jobs ended · 3 not polled yet"),
        (Progress(total=3, cancelling=1, queued=2), "0 of 3 jobs ended · 2 queued · 1 cancelling"),
        (Progress(total=200, complete=200, fetching=120), "200 of 200 jobs ended · fetching 120 results"),
        (Progress(total=200, complete=200, fetching=1), "200 of 200 jobs ended · fetching 1 result"),
        (Progress(total=200, complete=120, fetching=120, queued=80), "120 of 200 jobs ended · 80 queued"),
    ],
)
def test_the_line_says(progress: Progress, words: str) -> None:
    assert line(progress) == words


def test_the_last_line_says_how_long_it_took() -> None:
    assert last_line(END) == "5,000 of 5,000 jobs ended (12 failed, 8 cancelled) after 2 min 03 s"


def test_the_last_line_after_a_timeout_has_the_unfinished_jobs() -> None:
    assert last_line(MIDST) == "1,240 of 5,000 jobs ended (12 failed) · 310 running · 3,450 queued after 30 s"


@pytest.mark.parametrize(
    ("rate", "words"),
    [(1234.5, "1,234/s"), (41.2, "41/s"), (4.12, "4.1/s"), (0.96, "1.0/s"), (0.5, "30/min"), (0.01, "36/h")],
)
def test_a_rate_has_two_figures_and_a_unit_that_suits(rate: float, words: str) -> None:
    assert line(Progress(total=2, queued=2, rate=rate)).endswith(f" · {words}")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3599.7, "1 h 00 min"), (1e6, "277 h 46 min")],
)  # fmt: skip
def test_a_duration_is_rounded_for_readers(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("left", "words"), [(0.0, "1 s"), (1.4, "1 s"), (7.6, "8 s"), (9.7, "10 s"), (91.7, "1 min 32 s")]
)
def test_the_time_left_has_no_tenths(left: float, words: str) -> None:
    assert line(Progress(total=2, queued=2, left=left)).endswith(f" · about {words} left")


@pytest.mark.parametrize("width", range(1, 120))
def test_a_line_fits(width: int) -> None:
    for progress in (
        MIDST,
        END,
        began(),
        Progress(total=9, unpolled=2, cancelling=3, running=2, queued=2, rate=1.0, left=5.0),
    ):
        assert len(line(progress, width)) <= width
        assert len(last_line(progress, width)) <= width


def test_the_time_left_is_the_last_to_go() -> None:
    assert line(MIDST, 80) == "1,240 of 5,000 jobs ended (12 failed) · 310 running · about 1 min 32 s left"
    assert line(MIDST, 64) == "1,240 of 5,000 jobs ended (12 failed) · about 1 min 32 s left"


# -- when a log gets a line ----------------------------------------------------------------------------------------------


def test_a_log_gets_fewer_lines_as_time_goes_by() -> None:
    schedule = LogSchedule()
    seen = [
        step
        for step in range(600)
        if schedule.is_due(Progress(total=1000, complete=step, queued=1000 - step, running=1, elapsed=float(step)))
    ]
    assert seen == [0, 1, 3, 8, 18, 48, 108, 168, 228, 288, 348, 408, 468, 528, 588]


def test_a_log_gets_no_line_while_nothing_changes() -> None:
    schedule = LogSchedule()
    assert [schedule.is_due(began(float(step))) for step in range(1000)].count(True) == 1


def test_a_log_gets_a_line_for_each_new_phase_at_once_and_none_for_a_phase_that_comes_back() -> None:
    schedule = LogSchedule()
    queued, running = began(0.1), Progress(total=10, queued=9, running=1, elapsed=0.2)
    fetching = Progress(total=10, complete=10, fetching=10, elapsed=0.3)
    looks = [began(), queued, running, queued, running, fetching, fetching]
    assert [schedule.is_due(progress) for progress in looks] == [True, False, True, False, False, True, False]


def test_a_phase_that_comes_back_after_a_line_is_not_new() -> None:
    schedule = LogSchedule()
    looks = [
        began(),
        Progress(total=10, queued=9, running=1),
        began(2.0),
        Progress(total=10, queued=8, running=2, elapsed=2.1),
    ]
    assert [schedule.is_due(progress) for progress in looks] == [True, True, True, False]


# -- terminals -----------------------------------------------------------------------------------------------------------


class Stream(io.StringIO):
    """A text stream with a given encoding, which is a terminal or not."""

    def __init__(self, encoding: str | None = "utf-8", *, terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal

    @property
    def encoding(self) -> str | None:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after these characters, without blanks at their ends."""
    lines, column = [""], 0
    for character in written:
        if character == "\n":
            lines.append("")
            column = 0
        elif character == "\r":
            column = 0
        elif character == "\b":
            column -= 1
        else:
            lines[-1] = lines[-1][:column] + character + lines[-1][column + 1 :]
            column += 1
    return [text.rstrip() for text in lines]


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("columns")
def test_a_terminal_has_one_line_that_changes_in_place() -> None:
    stream = Stream()
    display = TerminalDisplay(stream)
    shown = []
    for progress in (MIDST, began(), MIDST):
        display.show(progress)
        shown.append(screen(stream.getvalue()))
    assert shown == [[line(MIDST)], [line(began())], [line(MIDST)]]
    display.conclude(END)
    assert screen(stream.getvalue()) == [last_line(END), ""]


@pytest.mark.usefixtures("columns")
def test_what_ctrl_c_puts_beside_the_line_is_erased() -> None:
    stream = Stream()
    display = TerminalDisplay(stream)
    display.show(MIDST)
    display.show(began())
    stream.write("^C")
    assert screen(stream.getvalue()) == [f"{line(began())}^C"]
    display.conclude(Progress(total=1, complete=1))
    assert screen(stream.getvalue()) == ["1 of 1 job ended after 0.0 s", ""]


@pytest.mark.usefixtures("columns")
def test_nothing_is_written_to_a_terminal_while_nothing_changes() -> None:
    stream = Stream()
    display = TerminalDisplay(stream)
    for _ in range(3):
        display.show(MIDST)
    assert stream.getvalue() == f"\r{line(MIDST)}"


@pytest.mark.usefixtures("columns")
def test_a_terminal_is_sent_no_escape_sequence() -> None:
    stream = Stream()
    display = TerminalDisplay(stream)
    display.show(MIDST)
    display.show(began())
    display.conclude(END)
    assert "\x1b" not in stream.getvalue()


def test_a_line_stays_within_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    stream = Stream()
    display = TerminalDisplay(stream)
    display.show(MIDST)
    display.show(began())
    display.conclude(MIDST)
    assert max(len(part.replace("\b", "").rstrip("\n")) for part in stream.getvalue().split("\r")) == 49


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_width_is_that_of_the_terminal_which_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import pty
    import struct
    import termios

    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 31, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        TerminalDisplay(stream).show(MIDST)
        written = os.read(ours, 1000)
    os.close(ours)
    assert len(written) == len("\r") + 30


@pytest.mark.parametrize("encoding", ["ascii", "latin-2", "no such encoding", None])
@pytest.mark.parametrize("kind", [TerminalDisplay, LogDisplay])
@pytest.mark.usefixtures("columns")
def test_an_output_that_has_no_dot_gets_commas(encoding: str | None, kind: type[TerminalDisplay | LogDisplay]) -> None:
    stream = Stream(encoding)
    display = kind(stream)
    display.show(MIDST)
    display.conclude(MIDST)
    assert line(MIDST, separator=COMMA) in stream.getvalue()
    assert stream.getvalue().isascii()


# -- logs ----------------------------------------------------------------------------------------------------------------


def test_a_log_has_whole_lines() -> None:
    stream = Stream(terminal=False)
    display = LogDisplay(stream)
    display.show(began())
    display.show(MIDST)
    display.show(MIDST)
    display.conclude(END)
    assert stream.getvalue() == f"{line(began())}\n{line(MIDST)}\n{last_line(END)}\n"


# -- notebooks -----------------------------------------------------------------------------------------------------------


class Cell:
    """The output of a cell: data by display id."""

    def __init__(self) -> None:
        self.outputs: dict[str, Mapping[str, str]] = {}
        self.updates = 0

    def display(self, data: Mapping[str, str], /, *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id not in self.outputs
        self.outputs[display_id] = data

    def update(self, data: Mapping[str, str], /, *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id in self.outputs
        self.outputs[display_id] = data
        self.updates += 1


def test_a_cell_has_one_output_that_is_updated_in_place() -> None:
    cell = Cell()
    display = NotebookDisplay(cell.display, cell.update)
    for progress in (began(), MIDST, MIDST):
        display.show(progress)
    display.conclude(END)
    [data] = cell.outputs.values()
    assert (data["text/plain"], cell.updates) == (last_line(END), 2)
    assert last_line(END) in data["text/html"]


def test_two_waits_have_two_outputs() -> None:
    cell = Cell()
    for _ in range(2):
        NotebookDisplay(cell.display, cell.update).show(began())
    assert len(cell.outputs) == 2


def test_the_html_is_well_formed_and_without_script() -> None:
    elements = list(ET.fromstring(progress_html("<script>&\u202e", {"good": 0.5, "bad": 0.25, "busy": 0.0})).iter())
    assert {element.tag for element in elements} == {"div", "style"}
    assert {name for element in elements for name in element.attrib} == {"class", "style"}
    assert elements[2].text == "<script>&\N{REPLACEMENT CHARACTER}"


def test_the_bar_shows_each_share_in_its_colour() -> None:
    cell = Cell()
    NotebookDisplay(cell.display, cell.update).show(MIDST)
    [data] = cell.outputs.values()
    bar = ET.fromstring(data["text/html"])[2]
    assert [part.get("style") for part in bar] == [
        "width:24.56%;color:var(--sfjobs-good)",
        "width:0.24%;color:var(--sfjobs-bad)",
        "width:6.20%;color:var(--sfjobs-busy)",
    ]


# -- the choice ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (Stream(), "xterm-256color", TerminalDisplay),
        (Stream(), "dumb", LogDisplay),
        (Stream(terminal=False), "xterm-256color", LogDisplay),
        (None, "xterm-256color", type(None)),
    ],
)
def test_the_display_fits_the_place(
    monkeypatch: pytest.MonkeyPatch, stream: Stream | None, term: str, kind: type[Display]
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert type(fitting_display()) is kind
    assert "IPython" not in sys.modules


@pytest.mark.parametrize(
    ("shell", "kind"),
    [(SimpleNamespace(kernel=object()), NotebookDisplay), (SimpleNamespace(), LogDisplay), (None, LogDisplay)],
    ids=["kernel", "terminal", "none"],
)
def test_a_cell_is_written_to_where_a_kernel_runs(
    monkeypatch: pytest.MonkeyPatch, shell: object, kind: type[Display]
) -> None:
    cell = Cell()
    monkeypatch.setattr(sys, "stderr", Stream(terminal=False))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(display=cell.display, update_display=cell.update)
    )
    assert type(fitting_display()) is kind
