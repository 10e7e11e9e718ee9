"""The documentation is complete and true: what can be compared with the code is."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import kronosfw_chronos2.plugin
import kronosfw_feeds_supabase.plugin
import kronosfw_kronos_event.plugin
import kronosfw_meta_lgbm.plugin
import kronosfw_timesfm.plugin
import pytest
from sqlalchemy import Table, create_engine, text

import kronosfw.builtin
from kronosfw import errors, hookspec, yamlfile
from kronosfw.builtin.encoders import Macro20
from kronosfw.cli import cli
from kronosfw.config import Checks, Config
from kronosfw.loading import model
from kronosfw.mistakes import validate
from kronosfw.plugins import Plugins
from kronosfw.store import Store, learned_row
from kronosfw.store.tables import metadata, signal_evaluations

from .rows import AS_OF, evaluation, prediction, run_row

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
SUPABASE = ROOT / "plugins" / "feeds_supabase" / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *EXAMPLES.rglob("*.md"), SUPABASE])
TEMPLATE = ROOT / "kronosfw" / "cli" / "template.yaml"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAGMENT = "# fragment\n"

EVERYTHING = "\n".join(page.read_text("utf-8") for page in PAGES if page.parent in (ROOT, DOCS))
HOOKS = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspec).items()
    if hasattr(function, "kronosfw_spec")
}


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCED.findall(page.read_text("utf-8")) if language in languages]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    """Return what is built in and what the plugins and examples add, whatever else is installed."""
    found = Plugins()
    found.add("builtin", kronosfw.builtin)
    found.add("kronos_event", kronosfw_kronos_event.plugin)
    found.add("chronos2", kronosfw_chronos2.plugin)
    found.add("timesfm", kronosfw_timesfm.plugin)
    found.add("meta_lgbm", kronosfw_meta_lgbm.plugin)
    found.add("feeds_supabase", kronosfw_feeds_supabase.plugin)
    found.add("ewma", load("example_ewma", EXAMPLES / "kronosfw-ewma" / "kronosfw_ewma" / "__init__.py"))
    for path in sorted((EXAMPLES / "kinds").glob("*.py")):
        found.add(path.stem, load(f"example_{path.stem}", path))
    assert not [p.problem for p in found.all if p.problem]
    return found


def test_there_are_hooks_to_document() -> None:
    assert len(HOOKS) == 13


def test_every_metric_is_documented() -> None:
    from kronosfw.prometheus import METRICS

    assert [name for name in METRICS if f"`{name}" not in page("operations.md")] == []


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_its_arguments(hook: str) -> None:
    assert f"| `{hook}({', '.join(HOOKS[hook])})` |" in page("write-a-plugin.md")


@pytest.mark.parametrize("kind", ["feed", "encoder", "forecaster", "ensembler", "checkpoint_policy", "notifier"])
def test_built_in_components_are_documented(plugins: Plugins, kind: str) -> None:
    builtin = next(p for p in plugins.all if p.name == "builtin")
    for cls in builtin.components[kind]:
        assert f"### `{cls.model_fields['type'].default}`\n" in page("config.md")


def test_channels_are_documented_with_their_groups() -> None:
    rows = [line.split("|") for line in page("events.md").splitlines() if line.startswith("| `")]
    groups = {name: row[2].strip() for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    encoder = Macro20().build()
    assert dict(zip(encoder.names, encoder.groups, strict=True)).items() <= groups.items()


def commands(group: click.Group, path: str = "kronosfw") -> Iterator[str]:
    """Yield kronosfw's own commands; what plugins add they document themselves."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif command and command.callback.__module__.startswith("kronosfw."):
            yield f"{path} {name}"


@pytest.mark.parametrize("command", list(commands(cli)))
def test_command_is_documented(command: str) -> None:
    assert f"`{command}`" in EVERYTHING


COMMAND_LINES = [
    pytest.param(line, id=f"{names(source)}: {line}")
    for source in PAGES
    for body in blocks(source, "sh")
    for line in body.splitlines()
    if line.startswith("kronosfw ")
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_line_is_understood(line: str) -> None:
    """Parse the command line, its options included, without running it."""
    _, *words = shlex.split(line, comments=True)
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    command.make_context(line, words)


def test_exit_codes_are_documented() -> None:
    codes = {errors.DONE, errors.PARTIAL}
    codes |= {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.KronosfwError)
    }
    missing = [code for code in codes if f"\n| {code} | " not in page("operations.md")]
    assert not missing


def test_data_checks_are_documented_with_their_defaults() -> None:
    table = page("operations.md")
    for name, field in Checks.model_fields.items():
        if isinstance(field.default, str):
            assert f"| `{name}` | {field.default} | " in table
        else:
            assert f"`{name}` ({field.default})" in table


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_columns_are_documented(table: Table) -> None:
    section = page("operations.md").split(f"\n### {table.name}\n")[1].split("\n### ")[0]
    assert not [column.name for column in table.columns if f"`{column.name}`" not in section]


def test_scores_are_explained() -> None:
    assert not [c.name for c in signal_evaluations.columns if f"`{c.name}`" not in page("scoring.md")]


def test_config_reference_is_up_to_date() -> None:
    written = load("config_reference", DOCS / "config_reference.py").reference()
    assert page("config.md") == written, "run `make docs`"


CONFIGURATIONS = [
    *(pytest.param(path.read_text("utf-8"), id=names(path)) for path in sorted(EXAMPLES.rglob("*.yaml"))),
    *(
        pytest.param(body, id=f"{names(source)}-{i}")
        for source in PAGES
        for i, body in enumerate(blocks(source, "yaml"))
    ),
]


@pytest.mark.parametrize("source", CONFIGURATIONS)
def test_configuration_is_valid(source: str, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validate a configuration; a fragment takes the place of the same keys in the one that `init` writes."""
    for variable in re.findall(r"\$\{(\w+)\}", source):
        monkeypatch.setenv(variable, "value")
    document = yamlfile.parse(source)
    if source.startswith(FRAGMENT):
        whole = yamlfile.parse(TEMPLATE.read_text("utf-8"))
        document.data.update({key: value for key, value in whole.data.items() if key not in document.data})
    assert isinstance(validate(model(plugins), document), Config)


TUTORIAL = DOCS / "write-a-plugin.md"


PARTS = (
    "pyproject.toml",
    "kronosfw_ewma/__init__.py",
    "kronosfw_ewma/forecaster.py",
    "tests/test_ewma.py",
    "ewma.yaml",
)


@pytest.mark.parametrize("part", PARTS)
def test_tutorial_shows_the_whole_example(part: str) -> None:
    assert (EXAMPLES / "kronosfw-ewma" / part).read_text("utf-8") in blocks(TUTORIAL, "python", "toml", "yaml")


@pytest.mark.parametrize(("source", "least"), [(TUTORIAL, 12), (DOCS / "events.md", 3)], ids=["tutorial", "events"])
def test_tested_code_is_shown_and_no_other(source: Path, least: int) -> None:
    files = (path for path in EXAMPLES.rglob("*.*") if path.suffix in (".py", ".toml", ".yaml"))
    sources = [path.read_text("utf-8") for path in (*files, *Path(__file__).parent.glob("test_example_*.py"))]
    shown = [body for body in blocks(source, "python", "toml", "yaml") if not body.startswith(FRAGMENT)]
    assert len(shown) >= least
    strangers = [body for body in shown if not any(body in text for text in sources)]
    assert not strangers


@pytest.mark.parametrize("source", PAGES, ids=names)
def test_files_that_are_named_are_there(source: Path) -> None:
    named = re.findall(r"`((?:kronosfw|tests|examples|plugins)/[\w/.-]+\.\w+)`", source.read_text("utf-8"))
    assert not [path for path in named if not (ROOT / path).exists()]


def test_scoring_examples_give_what_they_show() -> None:
    result = doctest.testfile(str(DOCS / "scoring.md"), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("query", blocks(DOCS / "scoring.md", "sql"))
def test_query_runs(query: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'results.db'}"
    Store(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text(query)).all() == []
    engine.dispose()


def execute(url: str, script: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement))
    engine.dispose()


def test_a_backtest_can_be_deleted_as_shown(tmp_path: Path) -> None:
    (script,) = blocks(DOCS / "backtest.md", "sql")
    url = f"sqlite:///{tmp_path / 'results.db'}"
    backtest, live = "c7330c03a1b2c3d4", "e7330c03a1b2c3d4"
    with Store(url) as store:
        for run_id, mark in ((live, ""), (backtest, f"~{backtest[:8]}")):
            lesson = learned_row("ensemble", "1d", f"options{mark}", AS_OF, {"run": run_id})
            made = {"model_version": f"1{mark}"}
            store.record(
                run_row(id=run_id), [prediction(**made)], evaluations=[evaluation(**made)], learned=[lesson]
            )
        execute(url, script)
        assert [row["id"] for row in store.runs()] == [live]
        assert [row["model_version"] for row in (*store.predictions(), *store.evaluations())] == ["1", "1"]
        assert store.learned("ensemble", "1d", f"options~{backtest[:8]}", AS_OF) is None
        assert store.learned("ensemble", "1d", "options", AS_OF) is not None


def test_what_a_model_learned_can_be_deleted_as_shown(tmp_path: Path) -> None:
    (script,) = blocks(DOCS / "operations.md", "sql")
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with Store(url) as store:
        store.learn([learned_row(f"ensemble{end}", "1d", "o", AS_OF, {}) for end in ("", "_calibrated")])
        execute(url, script)
        assert store.learned("ensemble_calibrated", "1d", "o", AS_OF) is None
        assert store.learned("ensemble", "1d", "o", AS_OF) is not None


LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("source", PAGES, ids=names)
def test_links_lead_somewhere(source: Path) -> None:
    for path, anchor in LINK.findall(FENCED.sub("", source.read_text("utf-8"))):
        target = (source.parent / path) if path else source
        assert target.exists(), f"{path} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCED.sub("", target.read_text("utf-8")), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{path}#{anchor} does not exist"
