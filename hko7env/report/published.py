"""Results printed in Shi et al. 2017, which hold for the official HKO-7 test set only."""

from typing import NamedTuple

from hko7env.report.comparison import Comparison

# The published walk over the official test list: 6053 sequences in 56 episodes
OFFICIAL_SCHEDULE = "31b55008026d5bfe740cf0a9e8637da097c1e00ea90420b9b4d771f8bedf9394"
OFFICIAL_SOURCE = "Hong Kong Observatory, HKO-7 CAPPI 2 km"  # as the importer of HKO-7's files writes it
OTHER_PROTOCOLS = (
    "1,224 training and 199 test days chosen as cloudy, without a validation set",
    "128 x 128 pixels, 10 frames seen and 10 forecast",
    "480 x 480 pixels, 5 frames seen and 20 forecast, but small echo scored as well (no mask)",
    "scores pooled over all lead times, or after max-pooling of frames",
)
TAU_B_MSE_CSI = (-0.70, -0.57, -0.61, -0.86, -0.84)  # Table 5, B-MSE against CSI at each threshold


class PublishedRow(NamedTuple):
    """A row of Table 3: setting, name, agent of this package by its short name, CSI, B-MSE and B-MAE."""

    setting: str
    name: str
    agent: str
    csi: tuple[float, ...]
    b_mse: int
    b_mae: int


TABLE_3 = (
    PublishedRow("offline", "Last frame", "last_frame", (0.4022, 0.3266, 0.2401, 0.1574, 0.0692), 15274, 28042),
    PublishedRow("offline", "ROVER + Linear", "", (0.4762, 0.4089, 0.3151, 0.2146, 0.1067), 11651, 23437),
    PublishedRow("offline", "ROVER + Non-linear", "rover", (0.4655, 0.4074, 0.3226, 0.2164, 0.0951), 10945, 22857),
    PublishedRow("offline", "2D CNN", "conv2d", (0.5095, 0.4396, 0.3406, 0.2392, 0.1093), 7332, 18091),
    PublishedRow("offline", "3D CNN", "conv3d", (0.5109, 0.4411, 0.3415, 0.2424, 0.1185), 7202, 17593),
    PublishedRow("offline", "ConvGRU, not balanced", "", (0.5476, 0.4661, 0.3526, 0.2138, 0.0712), 9087, 19642),
    PublishedRow("offline", "ConvGRU", "convgru", (0.5489, 0.4731, 0.3720, 0.2789, 0.1776), 5951, 15000),
    PublishedRow("offline", "TrajGRU", "trajgru", (0.5528, 0.4759, 0.3751, 0.2835, 0.1856), 5816, 14675),
    PublishedRow("online", "2D CNN", "conv2d", (0.5112, 0.4363, 0.3364, 0.2435, 0.1263), 6654, 17071),
    PublishedRow("online", "3D CNN", "conv3d", (0.5106, 0.4344, 0.3345, 0.2427, 0.1299), 6690, 16903),
    PublishedRow("online", "ConvGRU", "convgru", (0.5511, 0.4737, 0.3742, 0.2843, 0.1837), 5724, 14772),
    PublishedRow("online", "TrajGRU", "trajgru", (0.5563, 0.4798, 0.3808, 0.2914, 0.1933), 5589, 14465),
)


def is_official(comparison: Comparison) -> bool:
    """Whether protocol and data are those of Table 3: the official test list and HKO-7's frames, not cleaned."""
    schedule, data = comparison.schedule, comparison.data
    return (
        schedule.sha256 == OFFICIAL_SCHEDULE
        and len(comparison.index) == len(schedule)
        and (schedule.inputs, schedule.leads, schedule.cadence) == (5, 20, 6)
        and data.get("source") == OFFICIAL_SOURCE
        and data.get("shape") == [480, 480]
        and not any(run.identity.get("cleaned") for run in comparison.runs)
    )


def published_rows(comparison: Comparison) -> list[PublishedRow]:
    """The paper's rows of the agents and settings that are compared; none unless protocol and data agree."""
    if not is_official(comparison):
        return []
    compared = {(one.short_agent, one.setting) for run in comparison.runs for one in (run, *run.same)}
    return [row for row in TABLE_3 if (row.agent, row.setting) in compared]
