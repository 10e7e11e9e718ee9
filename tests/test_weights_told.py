"""Every report tells the licence of the weights behind it, and until when they were trained."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kronosfw import report
from kronosfw.pipeline import run, silent
from kronosfw.scoring import score
from tests.test_example_kinds import MODULES

TERMS = "weights of tuned: Apache-2.0, trained until 2024-12-31"


@pytest.fixture
def config(configure, plugins):
    assert not plugins.add("trainer", MODULES["trainer"]).problem
    members = "[{type: random_walk}, {type: tuned_walk, name: tuned}]"
    return configure(forecasters=members, ensembler="null", as_of="2023-06-01")


def shown(print_it, *arguments):
    console = Console(file=io.StringIO(), width=100)
    print_it(*arguments, console)
    return console.file.getvalue()


def test_a_run_tells_it(config, plugins):
    found = run(config, plugins)
    text = shown(report.print_run, found, config)
    assert TERMS in text
    assert "weights of random_walk" not in text
    told = report.run_as_json(found)["weights"]
    assert told == {"tuned": {**told["tuned"], "licence": "Apache-2.0", "trained_until": "2024-12-31"}}


def test_a_scoring_tells_it(config, plugins):
    run(config, plugins)
    found = score(config, as_of=None, progress=silent)
    assert {m.model for m in found.models} == {"random_walk", "tuned"}
    assert TERMS in shown(report.print_scores, found)
    assert list(report.scores_as_json(found)["weights"]) == ["tuned"]
