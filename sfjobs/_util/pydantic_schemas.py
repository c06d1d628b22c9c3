"""
How pydantic, and FastAPI with it, validates and writes types of ours that it does not know. Only pydantic calls these functions,
so it is imported in them, and need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[Any], Any]
"""Returns pydantic's schema of a type."""


class AnyJSON:
    """An annotation for a JSON value of any depth."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> Any:
        from pydantic import JsonValue

        return handler(JsonValue)


class WrittenBy:
    """An annotation for objects that ``write`` turns into JSON. Only texts are read back, by ``read`` if there is one."""

    def __init__(self, write: Callable[[Any], object], read: Callable[[str], object] | None = None) -> None:
        self._write = write
        self._read = read

    def __get_pydantic_core_schema__(self, source: Any, handler: Handler) -> Any:
        return instances(source, self._write, self._read)


def instances(kind: type, write: Callable[[Any], object], read: Callable[[str], object] | None = None) -> Any:
    """Return the schema of instances of ``kind``; in JSON they are what ``write`` returns, and ``read`` makes them of a text."""
    from pydantic_core import core_schema

    text = core_schema.str_schema()
    from_text = text if read is None else core_schema.no_info_after_validator_function(read, text)
    instance = core_schema.is_instance_schema(kind)
    return core_schema.json_or_python_schema(
        json_schema=from_text,
        python_schema=instance if read is None else core_schema.union_schema([instance, from_text]),
        serialization=core_schema.plain_serializer_function_ser_schema(write, when_used="json"),
    )


def made_by(kind: type, schema: Any) -> Any:
    """Return ``schema``, but with the constructor of ``kind``, which checks the values, for what is not an instance yet."""
    from pydantic_core import core_schema

    def validate(value: Any, _: Callable[[Any], Any]) -> Any:
        return value if isinstance(value, kind) else kind(**value)

    return core_schema.no_info_wrap_validator_function(validate, schema)
