"""Sections of the report page in their order, one module each with ``make(comparison) -> Section | None``."""

from collections.abc import Callable

from hko7env.report.comparison import Comparison
from hko7env.report.section import Section
from hko7env.report.sections import provenance

Make = Callable[[Comparison], Section | None]

SECTIONS: tuple[Make, ...] = (provenance.make,)
