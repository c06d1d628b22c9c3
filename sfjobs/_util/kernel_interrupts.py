"""
Makes *Interrupt the kernel* stop a cell of a notebook that awaits. ipykernel's handler of SIGINT schedules the cancellation of
the cell in its event loop, and tornado does not wake the loop for it: measured, the cell went on for 8 to 20 s, until the next
event.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from contextlib import suppress

_wakeups: list[tuple[socket.socket, socket.socket]] = []
"""Kept open as long as the kernel's process, as its event loop is."""


def wake_on_interrupt() -> None:
    """Let each signal wake the running event loop, if it is that of a Jupyter kernel and nothing wakes it yet."""
    if "ipykernel" not in sys.modules or threading.current_thread() is not threading.main_thread():
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # trio, which wakes by itself
        return
    if loop is _kernel_loop():
        _wake_by_signals(loop)


def _kernel_loop() -> object:
    """Return the event loop in which the kernel of this process runs its cells, None without a kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    io_loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    return getattr(io_loop, "asyncio_loop", None)


def _wake_by_signals(loop: asyncio.AbstractEventLoop) -> None:
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if before != -1:  # another one, such as loop.add_signal_handler, wakes the loop
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
        return

    def drain() -> None:
        with suppress(BlockingIOError):
            reader.recv(4096)

    loop.add_reader(reader, drain)
    _wakeups.append((reader, writer))
