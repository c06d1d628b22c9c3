"""Compiling a ``strawberryfields.Program``, with fakes of that package; ``tests/interop`` has the real one."""

from __future__ import annotations

import sys
import types
from functools import partial

import anyio
import numpy as np
import pytest

from sfjobs._protocol.blackbird_header import Header, read_header
from sfjobs._submission.programs import program_text
from sfjobs._submission.strawberryfields import compiled_text, needs_compiling
from sfjobs.models import Device, DeviceSpecification, JSONValue
from sfjobs.platform.blackbird import parse
from tests.support.fake_platform import FakePlatform


class Compiled:
    """An operation that says for what its program was compiled."""

    def __init__(self, program: FakeCircuit) -> None:
        self.p = [f"compiled for {program.compile_info}"]


class FakeCommand:
    """A fake of a ``Command``: an operation on mode 0."""

    def __init__(self, operation: object) -> None:
        self.op = operation
        self.reg = [types.SimpleNamespace(ind=0)]


class FakeCircuit:
    """A fake of a ``strawberryfields.Program``."""

    def __init__(
        self,
        run_options: dict[str, object] | None = None,
        *,
        compiled_for: FakeDevice | None = None,
        name: str | None = None,
        failure: Exception | None = None,
    ) -> None:
        self.run_options = run_options or {}
        self.compile_info = compiled_for and (compiled_for, "Xunitary")
        self.name = name
        self.failure = failure

    @property
    def circuit(self) -> list[FakeCommand]:
        return [FakeCommand(Compiled(self))]

    def compile(self, *, device: object) -> FakeCircuit:
        assert isinstance(device, FakeDevice)
        if self.failure is not None:
            raise self.failure
        assert FakeCompiler.layout is None, "the compiler still has another layout"
        FakeCompiler.layout = device.spec["layout"]
        return FakeCircuit(self.run_options, compiled_for=device, name=self.name)


class FakeTimeDomain(FakeCircuit):
    """A fake of a ``TDMProgram``."""

    timebins = 4


class FakeDevice:
    """A fake of ``strawberryfields.Device``."""

    def __init__(self, spec: dict[str, object], cert: object = None) -> None:
        self.spec, self.cert, self.target = spec, cert, spec["target"]
        self.default_compiler = "Xunitary"

    def __str__(self) -> str:
        return f"{self.target} by {self.spec['compiler']} of {self.spec['modes']} modes, certified {self.cert}"

    __repr__ = __str__


class FakeCompiler:
    """A fake of a compiler of Strawberry Fields, which keeps one layout until it is reset."""

    layout: object = None

    @classmethod
    def reset_circuit(cls) -> None:
        cls.layout = None


X8_DEVICE = FakeDevice({"target": "X8_01", "compiler": ["Xunitary"], "modes": 8})


@pytest.fixture
def strawberryfields(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("strawberryfields")
    package.Device = FakeDevice  # type: ignore[attr-defined]  # a stand-in
    compilers = types.SimpleNamespace(compiler_db={"Xunitary": FakeCompiler})
    package.compilers = compilers  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setattr(FakeCompiler, "layout", None)
    monkeypatch.setitem(sys.modules, "strawberryfields", package)


def device(modes: int | dict[str, JSONValue] = 8) -> Device:
    specification = DeviceSpecification(target="X8_01", modes=modes, compiler=("Xunitary", "Xcov"))
    return Device(target="X8_01", specification=specification, certificate={"finished_at": "today"})


def test_a_program_that_needs_compiling_has_no_text_without_a_target() -> None:
    with pytest.raises(TypeError, match="only one for a target"):
        program_text(FakeCircuit())


@pytest.mark.usefixtures("strawberryfields")
def test_a_program_is_compiled_for_the_specification_and_certificate_of_the_device() -> None:
    text = compiled_text(FakeCircuit(), target="X8_01", device=device(), shots=5)
    assert "compiled for (X8_01 by ['Xunitary', 'Xcov'] of 8 modes, certified {'finished_at': 'today'}," in text


@pytest.mark.usefixtures("strawberryfields")
def test_the_layout_of_another_device_is_reset_before_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCompiler, "layout", "of an X12")
    compiled_text(FakeCircuit(), target="X8_01", device=device(), shots=5)
    assert FakeCompiler.layout is None


@pytest.mark.usefixtures("strawberryfields")
def test_without_a_device_a_program_is_written_as_it_is() -> None:
    assert "compiled for None" in compiled_text(FakeCircuit(), target="X8_01", device=None, shots=5)


@pytest.mark.usefixtures("strawberryfields")
@pytest.mark.parametrize(
    ("modes", "is_compiled"), [({"pnr_max": 9}, False), ({"concurrent": 2, "temporal_max": 100}, True), (8, True)]
)
def test_a_time_domain_program_is_compiled_unless_the_device_is_a_simulator(
    modes: int | dict[str, JSONValue], is_compiled: bool
) -> None:
    text = compiled_text(FakeTimeDomain(), target="X8_01", device=device(modes), shots=5)
    assert ("compiled for None" not in text) is is_compiled


@pytest.mark.usefixtures("strawberryfields")
@pytest.mark.parametrize(("shots", "written"), [(None, 7), (3, 3)])
def test_the_shots_argument_replaces_those_of_the_program(shots: int | None, written: int) -> None:
    text = compiled_text(FakeCircuit({"shots": np.int64(7)}), target="X8_01", device=device(), shots=shots)
    assert read_header(text).shots == written


@pytest.mark.usefixtures("strawberryfields")
def test_run_options_are_written_except_those_of_the_client() -> None:
    program = FakeCircuit({"shots": 7, "crop": True, "modes": None, "seed": 5})
    assert parse(compiled_text(program, target="X8_01", device=device())).options == {"shots": 7, "seed": 5}


@pytest.mark.usefixtures("strawberryfields")
def test_a_program_without_shots_is_refused() -> None:
    with pytest.raises(ValueError, match="how many shots"):
        compiled_text(FakeCircuit(), target="X8_01", device=device())


@pytest.mark.usefixtures("strawberryfields")
def test_a_program_that_does_not_compile_is_refused_with_the_message_of_the_compiler() -> None:
    program = FakeCircuit(failure=RuntimeError("Sgate cannot be used"))
    with pytest.raises(ValueError, match="cannot be compiled for X8_01: RuntimeError: Sgate cannot be used"):
        compiled_text(program, target="X8_01", device=device(), shots=5)


@pytest.mark.usefixtures("strawberryfields")
def test_a_warning_that_is_an_error_is_raised() -> None:
    with pytest.raises(UserWarning):
        compiled_text(FakeCircuit(failure=UserWarning("odd")), target="X8_01", device=device(), shots=5)


@pytest.mark.usefixtures("strawberryfields")
@pytest.mark.parametrize(
    ("name", "written"), [("rng_u4", "rng_u4"), ("my run", "my_run"), ("7 up", "program_7_up"), (None, None)]
)
def test_a_name_that_blackbird_cannot_hold_is_adapted(name: str | None, written: str | None) -> None:
    text = compiled_text(FakeCircuit(name=name), target="X8_01", device=device(), shots=5)
    assert read_header(text).name == written


def test_a_program_of_a_package_that_is_not_imported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "strawberryfields", raising=False)
    with pytest.raises(TypeError, match=r"strawberryfields, .* is not imported"):
        compiled_text(FakeCircuit(), target="X8_01", device=device(), shots=5)


@pytest.mark.usefixtures("strawberryfields")
def test_a_package_that_is_too_old_to_compile_for_a_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["strawberryfields"], "Device")
    with pytest.raises(TypeError, match=r"strawberryfields 0\.22 or later"):
        compiled_text(FakeCircuit(), target="X8_01", device=device(), shots=5)


@pytest.mark.parametrize(("program", "needed"), [(FakeCircuit(), True), (FakeCircuit(compiled_for=X8_DEVICE), False)])
def test_only_a_program_that_was_not_compiled_for_the_target_needs_compiling(
    program: FakeCircuit, needed: bool
) -> None:
    assert needs_compiling(program, "X8_01") is needed


def test_a_class_is_not_a_program() -> None:
    with pytest.raises(TypeError, match="a program is"):
        program_text(FakeCircuit)  # type: ignore[arg-type]  # the mistake that is tested


def test_a_program_that_was_compiled_for_no_device_is_compiled_again() -> None:
    program = FakeCircuit()
    program.compile_info = (None, "gaussian")  # type: ignore[assignment]  # as the original has it
    assert needs_compiling(program, "X8_01")


def test_a_program_that_was_compiled_for_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match="compiled for X8_01, not for simulon_gaussian"):
        needs_compiling(FakeCircuit(compiled_for=X8_DEVICE), "simulon_gaussian")


async def submitted(*programs: FakeCircuit, shots: int | None = 5) -> FakePlatform:
    """The platform after these programs were submitted at once."""
    platform = FakePlatform()
    async with platform.connection() as connection, anyio.create_task_group() as tasks:
        for program in programs:
            tasks.start_soon(partial(connection.create_job, "X8_01", program, shots=shots))
    return platform


@pytest.mark.real_time
@pytest.mark.usefixtures("strawberryfields")
async def test_many_programs_request_the_device_once() -> None:
    platform = await submitted(*(FakeCircuit() for _ in range(5)))
    requests = [platform.count("GET", f"/devices/X8_01/{part}") for part in ("specifications", "certificate")]
    assert (requests, len(platform.jobs)) == ([1, 1], 5)


@pytest.mark.real_time
@pytest.mark.usefixtures("strawberryfields")
async def test_the_compiled_program_is_submitted() -> None:
    platform = await submitted(FakeCircuit({"shots": 9}), shots=None)
    (job,) = platform.jobs.values()
    assert "compiled for (X8_01 by" in job.circuit
    assert read_header(job.circuit) == Header(target="X8_01", shots=9)


@pytest.mark.real_time
@pytest.mark.usefixtures("strawberryfields")
async def test_a_compiled_program_requests_no_device() -> None:
    platform = await submitted(FakeCircuit(compiled_for=X8_DEVICE))
    assert (platform.count("GET", "/devices/X8_01/specifications"), len(platform.jobs)) == (0, 1)


@pytest.mark.real_time
@pytest.mark.usefixtures("strawberryfields")
async def test_a_program_that_does_not_compile_is_never_submitted() -> None:
    platform = FakePlatform()
    async with platform.connection() as connection:
        with pytest.raises(ValueError, match="too wide"):
            await connection.create_job("X8_01", FakeCircuit(failure=RuntimeError("too wide")), shots=5)
    assert not platform.jobs
