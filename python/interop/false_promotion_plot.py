"""Draws the simulation of false promotions: one self-contained SVG, and the table beside it.

    cargo run --release -p foretune-stats --example false_promotion > lines.jsonl
    python3 python/interop/false_promotion_plot.py lines.jsonl OUT

Reads the example's lines (one way of judging, lead and span each) and writes `OUT.svg` and `OUT.md`.
Nothing but the standard library is needed. On the left: a useless challenger and one look a day; on
the right: what the e-process on separate blocks makes of challengers that are better. Whiskers are
95 % intervals of the simulation (Wilson).
"""

import argparse
import html
import json
import math
import pathlib

ALPHA = 0.05
DAYS = [7, 28, 90, 180]
WIDTH, HEIGHT = 1000, 470
OWN = "betting e-process, non-overlapping blocks"
# Short names in the order of the legend; the e-process that decides comes first.
NAMES = {
    OWN: "e-process on separate blocks (decides)",
    "sequential comparison, non-overlapping blocks": "sequential comparison on separate blocks",
    "McNemar, non-overlapping blocks": "McNemar on separate blocks",
    "plan's rule, hourly decisions": "the plan's rule",
    "McNemar, hourly decisions": "McNemar on all hourly decisions",
    "betting e-process, hourly decisions (misuse)": "e-process on overlapping decisions (misuse)",
}
STYLE = """
svg { background: var(--ground); --ground: #fbfbf9; --ink: #1c2024; --dim: #5a636b; --rule: #d8dcdf;
  --c0: #1f5fbf; --c1: #00795a; --c2: #8a6100; --c3: #b3470b; --c4: #a3447d; --c5: #717a85; }
@media (prefers-color-scheme: dark) { svg { --ground: #14171a; --ink: #e8eaec; --dim: #a2abb3; --rule: #363d43;
  --c0: #7db1ff; --c1: #3ecf9f; --c2: #e0b040; --c3: #ffab70; --c4: #e29bc4; --c5: #8f99a5; } }
text { font: 13px system-ui, "Liberation Sans", sans-serif; fill: var(--dim); }
.title { font-size: 16px; font-weight: 600; fill: var(--ink); } .grid { stroke: var(--rule); }
.alpha { stroke: var(--ink); stroke-dasharray: 6 4; } path { fill: none; stroke-width: 2; }
""" + "".join(f".c{n} {{ stroke: var(--c{n}); }} .f{n} {{ fill: var(--c{n}); }}\n" for n in range(6))


def wilson(share, worlds):
    """The 95 % interval of a share."""
    z = 1.959964
    middle = (share + z * z / (2 * worlds)) / (1 + z * z / worlds)
    reach = z * math.sqrt(share * (1 - share) / worlds + z * z / (4 * worlds * worlds)) / (1 + z * z / worlds)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def shape(kind, x, y):
    """A mark of its own for each line: colour alone is not enough."""
    marks = [
        f'<circle cx="{x}" cy="{y}" r="4.5"/>', f'<rect x="{x - 4}" y="{y - 4}" width="8" height="8"/>',
        f'<path d="M{x} {y - 6}l5 9h-10z"/>', f'<path d="M{x} {y + 6}l5 -9h-10z"/>',
        f'<path d="M{x} {y - 6}l6 6l-6 6l-6 -6z"/>', f'<rect x="{x - 1.5}" y="{y - 6}" width="3" height="12"/>',
    ]
    return f'<g class="f{kind}">{marks[kind]}</g>'.replace("<path ", f'<path style="fill:var(--c{kind})" ')


def panel(left, title, lines, alpha):
    """Shares over days, [(name, [(days, share, low, high)])], with a legend below."""
    right, top, bottom = left + 420, 56, 300
    x = lambda days: left + (right - left) * math.log(days / 6) / math.log(200 / 6)
    y = lambda share: bottom - (bottom - top) * share
    out = [f'<text class="title" x="{left}" y="26">{html.escape(title)}</text>']
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        out.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        out.append(f'<text x="{left - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for days in DAYS:
        out.append(f'<text x="{x(days):.1f}" y="{bottom + 20}" text-anchor="middle">{days} days</text>')
    if alpha:
        out.append(f'<line class="alpha" x1="{left}" x2="{right}" y1="{y(ALPHA):.1f}" y2="{y(ALPHA):.1f}"/>')
        out.append(f'<text x="{left + 34}" y="{y(ALPHA) - 5:.1f}">alpha, 5 %</text>')
    for kind, (name, points) in enumerate(lines):
        steps = "L".join(f"{x(days):.1f} {y(share):.1f}" for days, share, *_ in points)
        out.append(f'<path class="c{kind}" d="M{steps}"/>')
        for days, share, low, high in points:
            out.append(f'<line class="c{kind}" x1="{x(days):.1f}" x2="{x(days):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"/>')
            out.append(f"<g>{shape(kind, round(x(days), 1), round(y(share), 1))}<title>{html.escape(name)}, {days} days: {share:.1%}</title></g>")
        at = bottom + 46 + 19 * kind
        out.append(shape(kind, left + 6, at - 4) + f'<text x="{left + 20}" y="{at}">{html.escape(name)}</text>')
    return "\n".join(out)


def main(arguments):
    rows = [json.loads(line) for line in arguments.lines.read_text().splitlines()]
    worlds = {row["worlds"] for row in rows}
    of = lambda method, lead, days, looks: next(
        row for row in rows if (row["method"], row["lead_points"], row["days"], row["looks"]) == (method, lead, days, looks))
    leads = sorted({row["lead_points"] for row in rows})
    line = lambda method, lead: [
        (days, row["promoted"], *wilson(row["promoted"], row["worlds"]))
        for days in DAYS for row in [of(method, lead, days, "daily")]]
    useless = [(name, line(method, leads[0])) for method, name in NAMES.items()]
    better = [("useless" if lead == leads[0] else f"{lead:.1f} points of accuracy better", line(OWN, lead)) for lead in reversed(leads)]
    words = "; ".join(f"{name}: {points[-1][1]:.1%} within 180 days" for name, points in useless)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t d">'
        f"<title id=\"t\">False promotions and power of ways to judge a challenger</title><desc id=\"d\">{html.escape(words)}</desc><style>{STYLE}</style>\n"
        + panel(56, "A useless challenger is promoted, one look a day", useless, True) + "\n"
        + panel(556, "A better one is promoted by the e-process", better, True) + "\n</svg>\n"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".svg").write_text(svg)

    def share(row):
        low, high = (100 * end for end in wilson(row["promoted"], row["worlds"]))
        return f"{100 * row['promoted']:.1f} [{low:.1f}, {high:.1f}]"

    table = [f"Per cent, with the 95 % interval of the simulation itself; {next(iter(worlds)):,} worlds a figure, one look a day from the seventh.", ""]
    for lead in leads:
        kind = "A useless challenger" if lead == leads[0] else f"A challenger {lead:.1f} points better"
        table += [f"**{kind}: promoted within**", "", "| way of judging | " + " | ".join(f"{days} days" for days in DAYS) + " | 180 days, one look |",
                  "| --- |" + " --- |" * (len(DAYS) + 1)]
        for method, name in NAMES.items():
            cells = [share(of(method, lead, days, "daily")) for days in DAYS] + [share(of(method, lead, 180, "once"))]
            table.append(f"| {name} | " + " | ".join(cells) + " |")
        table.append("")
    arguments.out.with_suffix(".md").write_text("\n".join(table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("lines", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    main(parser.parse_args())
