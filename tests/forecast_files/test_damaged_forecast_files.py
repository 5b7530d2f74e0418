import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz_forecasts.py")


@pytest.mark.slow
def test_damaged_and_foreign_files_read_as_they_are_or_are_refused(tmp_path):
    """In bounded memory and time. ``fuzz_forecasts.py FOLDER 334`` does the same for a thousand files."""
    pytest.importorskip("h5netcdf")
    words = [sys.executable, "-X", "faulthandler", FUZZ, tmp_path, "40"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    tally = json.loads(done.stdout)
    assert set(tally) == {"nc", "zarr", "foreign"}
    for name, counts in tally.items():
        assert counts["read"] + counts["refused"] == 40
        assert min(counts.values()) > 0, f"{name}: {counts}"
