"""The page in a browser: nothing overflows, everything is legible in both themes, and nothing is fetched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from kronosfw.page.render import render

from .test_page import made_up

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--window-size=1400,1000",
)
FRAME = """\
<!doctype html><meta charset="utf-8"><style>:root {{ color-scheme: light dark }} iframe {{ border: 0 }}</style>
<iframe width="{width}" height="900" srcdoc="{page}"></iframe><pre>nothing</pre>
<script>
addEventListener("load", () => {{
  const view = document.querySelector("iframe").contentWindow, page = view.document;
  const all = (selector) => [...page.querySelectorAll(selector)];
  const shown = (element) => {{ const box = element.getBoundingClientRect(); return [box.width, box.height]; }};
  const beneath = (element) => {{
    for (; element; element = element.parentElement) {{
      const color = view.getComputedStyle(element).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }}
  }};
  const ink = (element) => {{
    const style = view.getComputedStyle(element);
    return [element.closest("svg") ? style.fill : style.color, beneath(element)];
  }};
  const texts = "h1, h3, p, td, th, small, a, summary, dt, code, li, svg text, figcaption";
  document.querySelector("pre").textContent = JSON.stringify({{
    width: view.innerWidth,
    room: page.documentElement.clientWidth,
    needed: page.documentElement.scrollWidth,
    charts: all("svg[role=img]").map(shown),
    cut: all("svg[role=img] text").filter((text) => {{
      const box = text.getBoundingClientRect();
      return !text.closest(".box") && box.width && (box.left < 0 || box.right > view.innerWidth);
    }}).map((text) => text.textContent),
    inks: [...new Set(all(texts).map((element) => JSON.stringify(ink(element))))].map(JSON.parse),
    lines: all("svg .history, svg .median, .series path, .dot line").map(
      (element) => [view.getComputedStyle(element).stroke, beneath(element)]),
    sizes: all(texts).map((element) => parseFloat(view.getComputedStyle(element).fontSize)),
    fetched: view.performance.getEntriesByType("resource").map((entry) => entry.name),
  }});
}});
</script>
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the browser made of the page, by width and theme."""
    page = render(made_up(6))
    return {
        (width, theme): _look(tmp_path_factory.mktemp("page"), page, width, theme)
        for width in (375, 1280)
        for theme in ("dark", "light")
    }


def _look(folder: Path, page: str, width: int, theme: str) -> dict:
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=escape(page)), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={('dark', 'light').index(theme)}"
    arguments = [CHROMIUM, *OPTIONS, scheme, f"--user-data-dir={folder / 'profile'}", "--dump-dom", frame.as_uri()]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"<pre>(.*?)</pre>", result.stdout, re.S)
    return {**json.loads(unescape(found[1])), "console": re.findall(r".*CONSOLE.*", result.stderr)}


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (Web Content Accessibility Guidelines 2.1)."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


EVERY = pytest.mark.parametrize(("width", "theme"), [(w, t) for w in (375, 1280) for t in ("dark", "light")])


@EVERY
def test_nothing_overflows_or_is_cut_off(seen, width, theme):
    found = seen[width, theme]
    assert found["width"] == width
    assert found["needed"] <= found["room"]
    assert found["cut"] == []


@EVERY
def test_all_charts_are_there(seen, width, theme):
    charts = seen[width, theme]["charts"]
    assert len(charts) == 6 * 2 + 2 * 5
    assert all(wide >= 100 and high >= 28 for wide, high in charts)
    assert max(wide for wide, _ in charts) > 0.65 * min(width, 1000)


@EVERY
def test_everything_is_legible(seen, width, theme):
    """Text has a contrast of AA, lines the 3 that graphics need."""
    found = seen[width, theme]
    faint = [(ink, paper) for ink, paper in found["inks"] if _contrast(ink, paper) < 4.5]
    assert faint == []
    assert len(found["inks"]) >= 4
    assert found["lines"]
    assert all(_contrast(line, paper) >= 3 for line, paper in found["lines"])
    assert min(found["sizes"]) >= 10


@EVERY
def test_nothing_is_fetched_or_complained_of(seen, width, theme):
    assert seen[width, theme]["fetched"] == []
    assert seen[width, theme]["console"] == []


@pytest.mark.parametrize("width", [375, 1280])
def test_the_themes_differ(seen, width):
    dark, light = ({paper for _, paper in seen[width, theme]["inks"]} for theme in ("dark", "light"))
    assert not dark & light
    assert max(map(_luminance, dark)) < 0.1 < 0.8 < min(map(_luminance, light))
