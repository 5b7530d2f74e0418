"""Writing an archive as a dataset that others read: CF netCDF, or zarr by the mlcast specification.

The values are rain rates in float32, 0 where there is no echo. They are NaN where nothing is known: out of range, and
at level 0 of a suspect frame, which does not tell dry locations from locations without data. Importing such a dataset
(:mod:`hko7env.importers.formats.cf`) gives an archive with the same fingerprint.
"""

from hko7env.export.config import ExportConfig
from hko7env.export.rules import broken_rules
from hko7env.export.writing import export_archive

__all__ = ["ExportConfig", "broken_rules", "export_archive"]
