"""What the writer of a dataset decides: the version of zarr, the licence, and who made it."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True)
class ExportConfig:
    """Options of an export; the texts become attributes of the dataset."""

    zarr_format: Annotated[Literal["3", "2"], "version of the zarr format"] = "3"
    licence: Annotated[str | None, "SPDX identifier of the licence, such as CC-BY-4.0; none: the archive's"] = None
    created_by: Annotated[str | None, "who made the dataset, as 'Name <email>'"] = None
    created_with: Annotated[str | None, "GitHub URL of the software that made it, with @version; none: hko7env"] = None
    dataset_version: Annotated[str | None, "version of the dataset, such as 1.0.0"] = None
    identifier: Annotated[str | None, "identifier such as SI-arso-rainfall_flux: country, entity, variable"] = None
