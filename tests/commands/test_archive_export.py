from hko7env.archive import Archive
from hko7env.commands.archive import export


def test_export_and_import(command, small_archive, tmp_path):
    done = command("archive", "export", small_archive, "--out", "e.zarr", "--zarr-format", "2", "--licence", "CC0-1.0")
    assert done.status == 0, done.err
    assert done.out.startswith(
        "e.zarr: 142 frames of 48 x 64\nrules of the mlcast specification that it does not meet: "
    )
    assert "  attribute mlcast_created_by, 'Name <email>': give --created-by\n" in done.out
    assert "attribute license" not in done.out
    done = command("archive", "import", "mlcast", "e.zarr", "--out", "again.zarr")
    assert done.out == "again.zarr: 142 frames, 0 files left out\n", done.err
    assert Archive("again.zarr").fingerprint == Archive(str(small_archive)).fingerprint
    again = command("archive", "export", small_archive, "--out", "e.zarr")
    assert (again.status, again.out) == (1, "")
    assert "e.zarr exists already: choose another name" in again.err


def test_netcdf_has_no_rules(command, small_archive, tmp_path):
    done = command("archive", "export", small_archive, "--out", "e.nc")
    assert done.out == "e.nc: 142 frames of 48 x 64\n", done.err


def test_ctrl_c_says_what_to_do(command, small_archive, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "export_archive", stop)
    done = command("archive", "export", small_archive, "--out", "e.zarr")
    assert done.status == 130
    assert "the same command continues a zarr store" in done.err
    assert not (tmp_path / "e.zarr").exists()


def test_wrong_words_are_named(command, small_archive, tmp_path):
    done = command("archive", "export", small_archive, "--out", "e.h5")
    assert (done.status, done.out) == (1, "")
    assert "ends in .zarr or .nc, got e.h5" in done.err
    done = command("archive", "export", small_archive, "--out", "e.zarr", "--zarr-format", "4")
    assert done.status == 2
    assert "--zarr-format is one of 3, 2" in done.err
    done = command("archive", "import", "mlcast", "x.zarr", "--out", "a.zarr", "--period", "2020-01-01")
    assert done.status == 2
    assert "--period: expected 2 arguments" in done.err
