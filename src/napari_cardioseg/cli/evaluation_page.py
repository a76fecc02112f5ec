"""One HTML file that shows how a model was measured, and its worst slices."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.cli.evaluation_picture import draw_slice
from napari_cardioseg.cli.evaluation_tables import Table, class_name, heading, notes, number, tables
from napari_cardioseg.domain import LV_SCHEME, LabelledFrame

Report = dict[str, Any]

WORST = 24
"""How many slices are drawn, shared evenly among the classes."""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; max-width: 76rem; }}
body {{ margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: .3rem; }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .5rem; }}
p {{ max-width: 56rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e3e6ea; }}
th {{ font-weight: 600; border-bottom: 2px solid #9aa3ad; }}
.name {{ text-align: left; }}
.slices {{ display: grid; gap: 1.4rem; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); }}
figure {{ margin: 0; }}
img {{ width: 100%; border-radius: 4px; background: #000; }}
figcaption {{ font-size: .9rem; }}
.true, .found, .both {{ padding: 0 .4rem; border-radius: 3px; background: #222; }}
.true {{ color: #0f0; }} .found {{ color: #f0f; }} .both {{ color: #fff; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{notes}</p>
{tables}
{slices}
</body>
</html>
"""

_NOTES = """\
A class counts on the frames on which a reader contoured it. By volume: all of a patient's frames together.
HD95 and ASD: Hausdorff distance at 95 % and average symmetric surface distance between contours, within the
slices; slices on which only one contour exists have none, and count as failures. Area bias: how much larger
or smaller than the reader's the areas found are, in sum over a patient's frames."""

_LEGEND = """\
Lowest Dice first. Contours: <span class="true">the reader's</span> <span class="found">the model's</span>
<span class="both">both</span>."""


def page(report: Report, frames: Sequence[LabelledFrame], found: Sequence[NDArray[np.uint8]]) -> str:
    """Write the page.

    Parameters
    ----------
    report : dict
        What `compare_frames` and `identify` gave.
    frames, found
        What it compared.

    Returns
    -------
    str
        HTML that needs no other file.
    """
    masks = {
        (frame.patient, frame.instance): (frame, labels) for frame, labels in zip(frames, found, strict=True)
    }
    return _PAGE.format(
        title=escape(heading(report)),
        notes="<br>".join((*(escape(note) for note in notes(report)), _NOTES)),
        tables="\n".join(_table(t) for t in tables(report)),
        slices="\n".join(_gallery(key, rows, masks) for key, rows in worst_slices(report).items() if rows),
    )


def worst_slices(report: Report, count: int = WORST) -> dict[str, list[Report]]:
    """Choose each class's share of the `count` slices to show: lowest Dice, then greatest distance, first."""
    share = max(count // max(len(report["classes"]), 1), 1)

    def badness(row: Report) -> tuple[float, float]:
        return row["dice"], -(float("inf") if row["hd95_mm"] is None else row["hd95_mm"])

    return {
        key: sorted((row for row in report["slices"] if row["class"] == key), key=badness)[:share]
        for key in report["classes"]
    }


def _table(table: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        texts = (
            f"<{tag}{' class=name' if i < table.names else ''}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(texts)}</tr>"

    rows = "\n".join(line(row, "td") for row in table.rows)
    return (
        f"<h2>{escape(table.title)}</h2>\n"
        f'<div class="scroll"><table>\n{line(table.header, "th")}\n{rows}\n</table></div>'
    )


def _gallery(
    key: str,
    rows: Sequence[Report],
    masks: Mapping[tuple[str, int], tuple[LabelledFrame, NDArray[np.uint8]]],
) -> str:
    value = LV_SCHEME.by_key(key).value
    figures = []
    for row in rows:
        frame, labels = masks[row["patient"], row["instance"]]
        png = draw_slice(frame.image, frame.labels == value, labels == value, frame.labels > 0)
        source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        where, what = (escape(text) for text in (_place(row), _scores(row)))
        figures.append(
            f'<figure><img src="{source}" alt="{where}: {what}">'
            f"<figcaption><b>{where}</b><br>{what}</figcaption></figure>"
        )
    title = f"{class_name(key)}: the {len(rows)} worst slices"
    return f'<h2>{escape(title)}</h2>\n<p>{_LEGEND}</p>\n<div class="slices">\n{"".join(figures)}\n</div>'


def _place(row: Report) -> str:
    return f"{row['patient']}, image {row['instance']}, {class_name(row['class'])}"


def _scores(row: Report) -> str:
    text = f"Dice {number(row['dice'])}"
    if row["area_found"] == 0:
        return f"{text}: nothing found"
    if row["area_true"] == 0:
        return f"{text}: found where the reader drew nothing"
    larger = 100 * (row["area_found"] / row["area_true"] - 1)
    hd95, asd = (number(row[name], 1) for name in ("hd95_mm", "asd_mm"))
    return f"{text}, HD95 {hd95} mm, ASD {asd} mm, area {larger:+.0f} %"
