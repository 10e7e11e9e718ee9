"""What every component has to honour, whatever its kind."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from ..interfaces import KINDS, Component, type_name
from ..plugins import Plugins

_HEAVY = "torch", "pandas", "lightgbm", "transformers", "scipy", "pyarrow"


class ComponentContract:
    """Registration, options and documentation. Subclasses give the fixture ``options``."""

    kind: ClassVar[str]

    @pytest.fixture
    def options(self) -> Component:
        """Return the options of the component under test."""
        raise NotImplementedError("give a fixture `options` that returns the component's options")

    @pytest.fixture
    def plugins(self) -> Plugins:
        """Return the plugins among which the component is found: those installed, unless overridden."""
        return Plugins.installed()

    def test_is_registered(self, options: Component, plugins: Plugins) -> None:
        assert isinstance(options, KINDS[self.kind])
        problems = {p.title: p.problem for p in plugins.all if p.problem}
        registered = plugins.components[self.kind].get(options.type)
        assert registered is type(options), f"not registered by an entry point; broken plugins: {problems}"
        assert type_name(type(options)) == options.type

    def test_options_survive_the_file(self, options: Component) -> None:
        """Options written as text, as a YAML file holds them, are read back as they were."""
        assert type(options).model_validate(_as_text(options)) == options

    def test_unknown_options_are_refused(self, options: Component) -> None:
        with pytest.raises(ValidationError):
            type(options).model_validate({**_as_text(options), "no_such_option": "1"})

    def test_options_are_documented(self, options: Component) -> None:
        assert type(options).__dict__.get("__doc__"), f"{type(options).__name__} needs a docstring"
        fields = type(options).model_fields.items()
        bare = [name for name, field in fields if name != "type" and not field.description]
        assert not bare, f"give these fields a description: {bare}"

    def test_listing_is_cheap(self) -> None:
        """Listing the plugins installed imports nothing heavy."""
        code = (
            "import sys; from kronosfw.plugins import Plugins; Plugins.installed(); "
            f"print([m for m in {_HEAVY!r} if m in sys.modules])"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "[]"


def _as_text(value: Any) -> Any:
    """Return options as a YAML file gives them: mappings and lists of text."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {field.alias or name: _as_text(getattr(value, name)) for name, field in fields}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {str(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_text(item) for item in value]
    return value if value is None else str(value.value if isinstance(value, Enum) else value)
