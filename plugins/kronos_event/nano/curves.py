"""Draws losses.jsonl as losses.svg: python plugins/kronos_event/nano/curves.py"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, MARGIN = 420, 240, 46
PANELS = (("tokenizer", "fine_full", "tokenizer: error in units of a bar's move"), ("model", "loss", "model: nats"))
COLOURS = {"train": "#8a8f98", "validation": "#c2410c"}


def panel(records: list[dict], name: str, title: str, left: int) -> str:
    """Return one diagram of the training's and the validation's loss over steps."""
    curves = {kind: [(r["step"], r[kind][name]) for r in records] for kind in COLOURS}
    values = [value for curve in curves.values() for _, value in curve[2:]]
    low, high, end = min(values), max(values), records[-1]["step"]

    def place(step: int, value: float) -> tuple[float, float]:
        x = left + MARGIN + (WIDTH - 2 * MARGIN) * step / end
        return x, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (min(value, high) - low) / (high - low)

    parts = [f'<text x="{left + MARGIN}" y="24" font-weight="bold">{title}</text>']
    parts += [f'<text x="{left + 4}" y="{place(0, v)[1] + 4:.0f}">{v:.3f}</text>' for v in (low, high)]
    parts += [f'<text x="{place(s, low)[0] - 12:.0f}" y="{HEIGHT - 18}">{s}</text>' for s in (0, end)]
    for i, (kind, curve) in enumerate(curves.items()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[kind]}" stroke-width="2"/>')
        parts.append(f'<text x="{left + WIDTH - 130}" y="{60 + 18 * i}" fill="{COLOURS[kind]}">{kind}</text>')
    return "\n".join(parts)


def main() -> None:
    """Write the picture."""
    records = [json.loads(line) for line in (FOLDER / "losses.jsonl").read_text().splitlines()]
    panels = [
        panel([r for r in records if r["phase"] == phase], name, title, i * WIDTH)
        for i, (phase, name, title) in enumerate(PANELS)
    ]
    size = f'width="{2 * WIDTH}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    body = f'<rect {size} fill="white"/>' + "\n".join(panels)
    (FOLDER / "losses.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{body}</svg>\n')


if __name__ == "__main__":
    main()
