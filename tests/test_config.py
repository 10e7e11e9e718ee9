"""A configuration file is understood, or its mistake is shown where it stands."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from kronosfw.cli import call
from kronosfw.errors import ConfigError
from kronosfw.loading import load, model
from kronosfw.plugins import Plugins

TEMPLATE = files("kronosfw.cli").joinpath("template.yaml").read_text("utf-8")
PLUGINS = Plugins.installed()


def read(folder: Path, text: str):
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return load(path, PLUGINS)[0]


def test_the_template_is_valid_and_its_text_becomes_values(tmp_path):
    config = read(tmp_path, TEMPLATE)
    assert config.horizon == 5
    assert config.quantiles == (0.1, 0.5, 0.9)
    assert config.universe["SPY"].market == "XNYS"
    assert config.model_names == ["random_walk", "har", "bootstrap", "ensemble"]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("horizon: 5", "horizn: 5", 19, "horizn: there is no such option; did you mean 'horizon'?"),
        ("type: har", "type: hra", 27, "forecasters.1: there is no forecaster 'hra'; did you mean 'har'?"),
        ("{type: har}", "{window: 3}", 27, "forecasters.1: give the forecaster's `type`, one of: bootstrap"),
        ("{type: har}", "har", 27, "forecasters.1: expected `{type: …}`"),
        (
            "type: random_walk}",
            "type: random_walk, windw: 3}",
            26,
            "forecasters.0.windw: there is no such option; did you mean 'window'?",
        ),
        ("{type: har}", "{type: random_walk}", 4, "two models are called random_walk"),
        ("horizon: 5", "horizon: many", 19, "horizon: expected a whole number"),
        ("horizon: 5", "horizon: 0", 19, "horizon: input should be greater than or equal to 1"),
        ("0.9]", "1.9]", 21, "quantiles: quantile levels must lie strictly between 0 and 1"),
        ("0.5, 0.9]", "0.9]", 21, "quantiles: quantile levels must include 0.1, 0.5 and 0.9"),
        ("freq: 1d", "freq: 7min", 18, "freq: expected a bar length that divides a day"),
        ("as_of: latest", "as_of: 1", 22, "as_of: expected latest, now, a date"),
        ("gaps: accept", "gaps: repair", 34, "checks.gaps: input should be 'refuse' or 'accept'"),
        ("class: crypto}\n  ETH", "class: spam}\n  ETH", 8, "universe.BTCUSDT: give `calendar`"),
        ("sqlite:///kronosfw.db", "kronosfw.db", 41, "store: expected a SQLAlchemy URL"),
        (
            "type: simulated",
            "type: simulated\n  conut: 3",
            6,
            "feed.conut: there is no such option; did you mean 'count'?",
        ),
        ("seed: 0", "seed: 0\nplugins: {disable: [no-such]}", 24, "plugins.disable names no-such"),
        ("calendar: XNYS", "calendar: XNYX", 13, "there is no trading calendar 'XNYX'; did you mean 'XNYS'?"),
        ("asset_class: crypto", "asset_class: Crypto!", 8, "expected lower-case letters, digits and underscores"),
        ("[0.1, 0.5, 0.9]", "0.1,0.5,0.9", 21, "quantiles: expected a list, such as [a, b]"),
        ("horizon: 5", "horizon:", 19, "horizon: expected a whole number"),
        ("{asset_class: crypto}", "crypto", 8, "universe.BTCUSDT: expected a mapping"),
        ("EURUSD:", "' EURUSD':", 7, "' EURUSD': a symbol is 1 to 64 printable characters"),
    ],
)
def test_a_mistake_is_shown_at_its_place(tmp_path, old, new, place, message):
    assert old in TEMPLATE
    path = tmp_path / "config.yaml"
    path.write_text(TEMPLATE.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        load(path)
    lines = str(raised.value).splitlines()
    assert any(line.startswith(f"{path}:{place}:") and message in line for line in lines), lines


def test_a_list_is_not_called_empty_where_its_items_are_wrong(tmp_path):
    text = TEMPLATE.replace("  - {type: random_walk}", "").replace("  - {type: har}", "")
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text.replace("type: bootstrap", "type: bootsrap"))
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="forecasters: give at least one"):
        read(tmp_path, text.replace("  - {type: bootstrap}", "  []"))


def test_the_run_does_not_depend_on_how_its_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(TEMPLATE.replace("type: simulated", 'type: csv\n  path: "bars/*.csv"'))
    monkeypatch.chdir(tmp_path)
    dumps = {
        load(Path(name), PLUGINS)[0].model_dump_json() for name in ("config.yaml", str(tmp_path / "config.yaml"))
    }
    assert len(dumps) == 1


def test_relative_paths_are_meant_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = read(tmp_path, TEMPLATE.replace("type: simulated", 'type: csv\n  path: "bars/*.csv"'))
    assert config.feed.path == tmp_path / "bars/*.csv"
    assert config.store.get_secret_value() == f"sqlite:///{tmp_path}/kronosfw.db"
    assert config.spool == tmp_path / "spool"


def test_values_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HORIZON", "7")
    monkeypatch.delenv("CONTEXT", raising=False)
    text = TEMPLATE.replace("horizon: 5", "horizon: ${HORIZON}").replace("context: 400", "context: ${CONTEXT:-300}")
    config = read(tmp_path, text)
    assert (config.horizon, config.context) == (7, 300)
    with pytest.raises(ConfigError, match=r"config.yaml:19:10: the environment variable NOT_SET is not set"):
        read(tmp_path, TEMPLATE.replace("horizon: 5", "horizon: ${NOT_SET}"))


@pytest.mark.parametrize(
    "place",
    [
        ("sqlite:///kronosfw.db", "${CANARY}"),
        ("sqlite:///kronosfw.db", "postgresql://user:${CANARY}@127.0.0.1:1/x"),
        ("{type: har}", "{type: '${CANARY}'}"),
        ("freq: 1d", "freq: ${CANARY}"),
        ("seed: 0", "seed: ${CANARY}"),
        ("as_of: latest", "as_of: ${CANARY}"),
        ("asset_class: crypto}", "asset_class: '${CANARY} '}"),
        ("type: simulated", "type: sql\n  table: '${CANARY}'\n  url: 'x${CANARY}'"),
        ("type: simulated", "type: sql\n  url: postgresql://user:${CANARY}@127.0.0.1:1/x\n  columns: 3"),
    ],
)
def test_a_secret_never_shows(tmp_path, monkeypatch, place):
    monkeypatch.setenv("CANARY", "s3cr3t-canary")
    shown = []
    try:
        config = read(tmp_path, TEMPLATE.replace(*place, 1))
        shown += [repr(config), json.dumps(config.model_dump(mode="json"))]
    except ConfigError as error:
        shown += [str(error), repr(error)]
    assert not any("s3cr3t" in text for text in shown)


def test_checking_a_file_looks_at_the_store_too(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(TEMPLATE.replace("sqlite:///kronosfw.db", "mysql://host/db"))
    assert call(["check", str(path)]) == 2
    assert "store: mysql is not supported; use sqlite or postgresql" in capsys.readouterr().err


def test_an_empty_section_has_its_defaults(tmp_path):
    config = read(tmp_path, TEMPLATE.replace("  gaps: accept\n  nonpositive: refuse\n", "") + "\nplugins:\n")
    assert config.checks.min_history == 60


def test_the_schema_describes_what_is_accepted():
    schema = model(PLUGINS).model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    # To YAML 1.2, which editors read, a date is text.
    good = json.loads(json.dumps(yaml.safe_load(TEMPLATE), default=str))
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, "horizn": 5}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, "forecasters": [{"type": "no_such"}]}, schema)
    assert schema["properties"]["horizon"]["description"]
