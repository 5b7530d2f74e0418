"""SVG charts whose lines and text take the colour of the surrounding text, so that they suit light and dark pages."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_INK = "#010203"  # drawn with this colour, then replaced
RUN_COLOURS = tuple(f"#0d0e0{i}" for i in range(8))  # replaced by the page's CSS variables --run-0 to --run-7
_SIZE = (5.0, 3.2)  # inches


def draw_chart(draw: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> str:
    """Draw one chart.

    Args:
        draw: Draws on matplotlib axes.
        size: Width and height in inches.

    Returns:
        An ``<svg ...>`` element.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("charts need matplotlib: pip install 'hko7env[plots]'") from error
    names = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = {**dict.fromkeys(names, _INK), "svg.fonttype": "none", "svg.hashsalt": "hko7env"}
    with rc_context(style):
        figure = Figure(size, layout="constrained")
        draw(figure.subplots())
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    text = svg.getvalue()[svg.getvalue().index("<svg") :].replace(_INK, "currentColor")
    for i, colour in enumerate(RUN_COLOURS):
        text = text.replace(colour, f"var(--run-{i})")
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    return re.sub(r'<g id="[^"]*"', "<g", text)  # these ids repeat from chart to chart


def draw_map(values: npt.NDArray[np.floating[Any]], label: str) -> str:
    """Draw values (H, W) as a map, NaN being empty, with a colour bar of that ``label``: an ``<svg ...>`` element."""

    def draw(axes: Any) -> None:
        image = axes.imshow(values, cmap="viridis", interpolation="nearest")
        axes.figure.colorbar(image, ax=axes, label=label)
        axes.set(xlabel="column", ylabel="row")

    return draw_chart(draw)
