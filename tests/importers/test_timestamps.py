import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.archive.format import FIRST_TIME, iso, minutes
from hko7env.damage import DamagedFile
from hko7env.importers import RadarImportError
from hko7env.importers.timestamps import compile_pattern, find_time
from tests.helpers.radar_files import stamp_of


@pytest.mark.parametrize(
    "name, time, rest",
    [
        ("201609281445_fmi.radar.composite.pgm.gz", "2016-09-28T14:45", "*_fmi.radar.composite.pgm.gz"),
        ("RAD_NL25_RAP_5min_201008260005.h5", "2010-08-26T00:05", "RAD_NL25_RAP_5min_*.h5"),
        ("T_PAAH21_C_EUOC_20180613120059.hdf", "2018-06-13T12:00", "T_PAAH21_C_EUOC_*.hdf"),
        ("2_20180616_100600.prcp-cscn.nc", "2018-06-16T10:06", "2_*.prcp-cscn.nc"),
        ("PrecipRate_00.00_20190610-000200.grib2", "2019-06-10T00:02", "PrecipRate_00.00_*.grib2"),
        ("S_NWC_CRR_MSG4_Europe-VISIR_20180601T071500Z.nc", "2018-06-01T07:15", "S_NWC_CRR_MSG4_Europe-VISIR_*Z.nc"),
        ("composite_wn_20240101_0005_000-hd5", "2024-01-01T00:05", "composite_wn_*_000-hd5"),
        ("radar 2024-02-29 23:55:00.h5", "2024-02-29T23:55", "radar *.h5"),
        ("2024-02-29T23.55.png", "2024-02-29T23:55", "*.png"),
        ("rain_20240101T1200_20240101T1200.nc", "2024-01-01T12:00", "*"),
    ],
)
def test_usual_names(name, time, rest):
    found = find_time(name)
    assert iso(found.minute) == time
    assert found.rest in (rest, "rain_*_20240101T1200.nc")


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "999999999999.h5", "...", "20240230_0000.nc", "202401010.h5", "2024010100000.h5", "20240101_2460.h5",
     "AQC190010950F_00005.801.gif", "120240101000099.h5", "raa01-rw_10000-2001010050-dwd---bin", ""],
)  # fmt: skip
def test_names_without_a_time(name):
    assert find_time(name) is None


@pytest.mark.parametrize(
    "pattern, name, time, rest",
    [
        ("%y%j%H%M?", "AQC181361205F_00005.801.gif", "2018-05-16T12:05", "AQC*_00005.801.gif"),
        ("-%y%m%d%H%M-", "raa01-rw_10000-2001010050-dwd---bin", "2020-01-01T00:50", "raa01-rw_10000*dwd---bin"),
        ("to_%Y%m%d%H%M", "from_202401010000_to_202401010005.h5", "2024-01-01T00:05", "from_202401010000_*.h5"),
        ("%d.%m.%Y %Hh%M*x", "07.12.2024 05h10 run3x.h5", "2024-12-07T05:10", "*.h5"),
        ("%Y%j.%H%M%S", "2024366.235959", "2024-12-31T23:59", "*"),
    ],
)
def test_patterns(pattern, name, time, rest):
    found = find_time(name, pattern)
    assert (iso(found.minute), found.rest) == (time, rest)


def test_patterns_that_match_no_time():
    for name in ("AQC183661205F.gif", "AQC180001205F.gif", "AQC1813612055F.gif", "AQC181362405F.gif"):
        assert find_time(name, "%y%j%H%M?") is None


def test_several_times_are_not_guessed():
    with pytest.raises(DamagedFile, match=r"holds 2 times: .*timestamp="):
        find_time("from_202401010000_to_202401010005.h5")


@pytest.mark.parametrize(
    "pattern, reason",
    [("", "needs year"), ("%Y%m%d", "needs year"), ("%Y%H%M", "needs year"), ("%m%d%H%M", "needs year"),
     ("%Y%m%d%H%M%q", "%q cannot be read"), ("%Y%Y%m%d%H%M", "%Y cannot be read"), ("%Y%m%d%H%M%", "% cannot be read"),
     ("%", "% cannot be read"), ("x", "needs year")],
)  # fmt: skip
def test_patterns_that_are_none(pattern, reason):
    with pytest.raises(RadarImportError, match=reason):
        compile_pattern(pattern)


@given(st.integers(minutes("1900-01-01"), minutes("2199-12-31")), st.sampled_from(["{}.h5", "a_{}.h5", "r5-{}-v2.nc"]))
def test_any_time_comes_back(minute, form):
    stamp = stamp_of(minute)
    for written in (stamp, f"{stamp}30", f"{stamp[:8]}_{stamp[8:]}", f"{stamp[:8]}T{stamp[8:]}00"):
        name = form.format(written)
        assert find_time(name).minute == minute
        assert find_time(name).rest == form.format("*")


@given(st.text(max_size=40), st.sampled_from([None, "%Y%m%d%H%M", "%y%j%H%M?", "*%Y?%m?%d*%H%M"]))
def test_any_name_is_read_or_not(name, pattern):
    found = find_time(name, pattern)
    assert found is None or found.minute >= FIRST_TIME
