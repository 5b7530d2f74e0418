"""Sections of the report page in their order, one module each with ``make(comparison) -> Section | None``."""

from collections.abc import Callable

from hko7env.report.comparison import Comparison
from hko7env.report.section import Section
from hko7env.report.sections import (
    agreement,
    curves,
    examples,
    fss,
    headline,
    performance,
    provenance,
    reliability,
    skill,
    spectrum,
    weather,
)

Make = Callable[[Comparison], Section | None]

SECTIONS: tuple[Make, ...] = (
    headline.make,
    curves.make,
    weather.make,
    performance.make,
    fss.make,
    spectrum.make,
    reliability.make,
    skill.make,
    examples.make,
    agreement.make,
    provenance.make,
)
