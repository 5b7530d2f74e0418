import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.forecast_files import write
from tests.helpers.forecasts import forecasts_of, foreign_dataset, save

pytest.importorskip("h5netcdf")


@pytest.fixture
def forecasts(small_archive, tmp_path):
    path = tmp_path / "mine.nc"
    write(path, forecasts_of(small_archive, "agents.last_frame"), Archive(str(small_archive)), units="mm/h")
    return path


def test_the_row_is_printed_and_the_run_is_written(command, small_archive, forecasts, tmp_path):
    done = command("score", forecasts, "--archive", small_archive, "--name", "my model 2.1")
    assert done.status == 0, done.err
    assert "| my model 2.1 | external |" in done.out
    assert "have no forecast" not in done.out
    assert "13/13" in done.err, "a progress bar with the count"
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("my_model_2.1-external-test-")
    assert done.out.endswith(f"Run folder with per-lead scores: results/{folder.name}\n")
    keep = ("--keep-forecasts", 2, "--keep", "diagnostics")
    assert command("score", forecasts, "--archive", small_archive, "--name", "my model 2.1", *keep).out == done.out
    assert {"forecasts.zarr", "diagnostics"} <= {path.name for path in folder.iterdir()}


def test_missing_sequences_are_counted(command, small_archive, tmp_path):
    archive = Archive(str(small_archive))
    times, values = zip(*forecasts_of(small_archive, "agents.last_frame"), strict=True)
    values = np.stack(values[1:])
    values[3, 2] = np.nan
    save(foreign_dataset(archive, times[1:], values, units="1"), tmp_path / "mine.zarr")
    done = command("score", "mine.zarr", "--archive", small_archive, "--limit", 5)
    assert done.status == 0, done.err
    assert "| mine " in done.out
    counted = "2 of 5 sequences have no forecast (no forecast of this issue time: 1, values are missing: 1)"
    assert counted in done.out
    assert "compare them only with runs of the same sequences" in done.out


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["nowhere.nc"], 1, "there is no file of forecasts at nowhere.nc: check the path"),
        (["mine.nc", "--split", "tets"], 1, "did you mean 'test'?"),
        (["mine.nc", "--archiv", "a"], 2, "there is no option '--archiv', did you mean '--archive'?"),
        (["mine.nc", "--name", "a/b"], 1, "a name has up to 80 letters"),
        (["mine.nc", "--limit", "0"], 2, "--limit: must be at least 1"),
        (["mine.nc", "--split", "train"], 1, "has no forecast of "),
        ([], 2, "the following arguments are required: FORECASTS"),
    ],
)
def test_a_wrong_command_line_is_named(command, small_archive, forecasts, tmp_path, words, status, message):
    done = command("score", *words, *([] if "--archiv" in words else ["--archive", small_archive]))
    assert done.status == status
    assert done.err.startswith("hko7env score: ")
    assert message in done.err
    assert not (tmp_path / "results").exists(), "nothing is written"
