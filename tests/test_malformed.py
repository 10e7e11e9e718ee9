"""A sample of malformed configurations and CSV files; ``benchmarks/malformed.py`` tries thousands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .malformed import CONFIGURATIONS, CSV_FILES, check_configuration, check_csv_file, fill

IN_ONE_FOLDER = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path)
    return tmp_path


@settings(max_examples=200, suppress_health_check=IN_ONE_FOLDER)
@given(text=CONFIGURATIONS)
def test_configurations(folder: Path, text: str) -> None:
    check_configuration(folder, text)


@settings(max_examples=80, suppress_health_check=IN_ONE_FOLDER)
@given(text=CSV_FILES)
def test_csv_files(folder: Path, text: str) -> None:
    check_csv_file(folder, text)
