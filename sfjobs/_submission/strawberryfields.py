"""
Compiles a ``strawberryfields.Program`` for a device and writes it as Blackbird. Takes the package from ``sys.modules``: a caller
who has one of its programs has imported it.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping
from types import ModuleType

from .._protocol.blackbird_header import is_script_name
from .._protocol.blackbird_template import Params
from ..models import Device
from .blackbird_writer import written
from .free_parameters import with_numbers
from .inverses import without_inverses
from .programs import Compilable

# Compilers parse the device's layout with quantum-blackbird, whose parser fails when two threads use it.
_compiler_lock = threading.Lock()


def needs_compiling(program: Compilable, target: str) -> bool:
    """
    Return whether ``program`` has to be compiled for ``target``. A program that was compiled without a device is compiled again.

    Raises:
        ValueError: it was compiled for another device.
    """
    info = getattr(program, "compile_info", None)
    device = info[0] if info else None
    if device is None:
        return True
    if device.target != target:
        raise ValueError(
            f"the program was compiled for {device.target}, not for {target}: give the program that it was compiled from"
        )
    return False


def compiled_text(
    program: Compilable, target: str, device: Device | None, shots: int | None = None, params: Params | None = None
) -> str:
    """
    Compile ``program`` for ``device`` and return its Blackbird text. Without ``device`` it is written as it is.
    ``params`` has numbers for its free parameters.

    Uses the first compiler of the device's specification, as the RemoteEngine of Strawberry Fields does. ``shots`` replaces those
    of the program's ``run_options``. Takes up to seconds of CPU time.

    Raises:
        ValueError: no shots are given, the program has other free parameters than ``params``, it does not compile for the
            device (with the compiler's message), or Blackbird cannot express one of its operations.
        TypeError: a value of ``params`` is not a number.
    """
    options = {key: value for key, value in program.run_options.items() if key != "crop" and value is not None}
    if shots is not None:
        options["shots"] = shots
    if "shots" not in options:
        raise ValueError("neither shots= nor the program's run_options say how many shots")
    program = with_numbers(program, params)
    with _compiler_lock:
        if device is not None and _has_compiler(program, device):
            program = _compiled(without_inverses(program), device)
    name = getattr(program, "name", None)
    return written(program, name="None" if name is None else _script_name(name), target=target, options=options)


def _script_name(name: str) -> str:
    """Turn ``name`` into a name of Blackbird: Strawberry Fields accepts any text."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return word if is_script_name(word) else f"program_{word}"


def _has_compiler(program: Compilable, device: Device) -> bool:
    """
    Return whether Strawberry Fields can compile for ``device``. For a simulator it cannot compile time-domain programs and
    MSgate, and it takes gates that depend on readings apart into functions that Blackbird lacks.
    """
    modes = device.specification.modes if device.specification else None
    if hasattr(program, "timebins") and isinstance(modes, Mapping) and "temporal_max" not in modes:
        return False
    if device.specification is None or list(device.specification.compiler)[:1] != ["gaussian"]:
        return True
    operations = [command.op for command in getattr(program, "circuit", [])]
    return not any(type(each).__name__ == "MSgate" or getattr(each, "measurement_deps", None) for each in operations)


def _compiled(program: Compilable, device: Device) -> Compilable:
    specification = device.specification
    if specification is None:
        raise ValueError(f"{device.target} shows no specification to compile for")
    spec = {
        "target": specification.target,
        "layout": specification.layout,
        "modes": specification.modes or None,
        "compiler": list(specification.compiler),
        "gate_parameters": specification.gate_parameters,
    }
    package = _imported("strawberryfields", program)
    if not hasattr(package, "Device"):
        raise TypeError(f"compiling a {type(program).__name__} takes strawberryfields 0.22 or later")
    try:
        sf_device = package.Device(spec=spec, cert=device.certificate)
        compiler = package.compilers.compiler_db.get(sf_device.default_compiler)
        if compiler is None:  # for which the package has the better message
            return program.compile(device=sf_device)
        # A compiler keeps the first layout that it got, for the whole process, and refuses those of other devices.
        compiler.reset_circuit()
        try:
            return program.compile(device=sf_device)
        finally:
            compiler.reset_circuit()
    except Warning:
        raise  # a caller who turned warnings into errors wants to see them
    except Exception as error:
        # Its compilers raise at least six kinds of errors, and all of them mean that the program does not fit.
        message = f"{type(error).__name__}: {error}"
        raise ValueError(f"the program cannot be compiled for {device.target}: {message}") from error


def _imported(module: str, program: Compilable) -> ModuleType:
    found = sys.modules.get(module)
    if found is None:
        raise TypeError(f"{module}, which can compile a {type(program).__name__}, is not imported: import it first")
    return found
