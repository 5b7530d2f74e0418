"""The code digest of a run follows imports: what an agent does not import does not start its run anew."""

import sys

import pytest

from hko7env.evaluation.code_digest import code_digest, sources

AGENT = "import json\nimport numpy\nfrom .parts import layers\n\ndef make(task):\n    from . import late\n"
FILES = {
    "house/__init__.py": "",
    "house/agent.py": AGENT + "    return load('house.named', task)\n",
    "house/parts/__init__.py": "",
    "house/parts/layers.py": "import neighbour\nfrom .deep.cell import Cell\n",
    "house/parts/deep/__init__.py": "",
    "house/parts/deep/cell.py": "class Cell: ...\n",
    "house/late.py": "",
    "house/named.py": "",
    "house/other.py": "def make(task): ...\n",
    "house/parts/unused.py": "",
    "house/weights/README.md": "",
    "house/weights/agent-small.safetensors": "1",
    "house/weights/shared.bin": "1",
    "house/weights/other-small.safetensors": "1",
    "neighbour.py": "",
    "stranger.py": "",
}
USED = (
    "house/__init__.py", "house/agent.py", "house/parts/__init__.py", "house/parts/layers.py",
    "house/parts/deep/cell.py", "house/late.py", "house/named.py",
    "house/weights/agent-small.safetensors", "house/weights/shared.bin",
    "neighbour.py",
)  # fmt: skip
UNUSED = (
    "house/other.py", "house/parts/unused.py", "house/weights/README.md", "house/weights/other-small.safetensors",
    "stranger.py",
)  # fmt: skip
NEW = ("house/new.py", "house/parts/new.py", "house/weights/other-large.safetensors", "new.py")


@pytest.fixture
def house(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("house", None)


def test_imports_of_any_kind_are_followed_and_nothing_else(house):
    before = code_digest("house.agent")
    assert code_digest("house.agent:make") == before
    for name in USED:
        (house / name).write_text(FILES[name] + "\n# changed\n")
        assert code_digest("house.agent") != before, f"{name} is used"
        (house / name).write_text(FILES[name])
    for name in (*UNUSED, *NEW):
        (house / name).write_text("import changed")
        assert code_digest("house.agent") == before, f"{name} is not used"
    assert code_digest("house.other") != before


def test_a_new_weights_file_of_the_agent_counts(house):
    before = code_digest("house.agent")
    (house / "house/weights/agent-full.safetensors").write_text("2")
    assert code_digest("house.agent") != before


def test_installed_packages_are_not_read(house):
    tops = {name.partition(".")[0] for name in sources("house.agent")}
    assert tops == {"house", "neighbour", "hko7env"}


def test_the_scoring_code_counts_and_conveniences_do_not():
    found = set(sources("agents.last_frame"))
    counted = {
        "env",
        "runner",
        "split_view",
        "schedule",
        "scores",
        "counting",
        "compiled_counting",
        "units",
        "archive.archive",
    }
    assert {f"hko7env.{name}" for name in counted} <= found
    assert not {name for name in found if name.startswith(("hko7env.synthetic", "hko7env.report"))}
    assert not {"hko7env.rendering", "hko7env.evaluation.table", "hko7env.testing", "agents.rover"} & found


def test_networks_and_subfolders_of_the_shipped_agents_count():
    found = set(sources("agents.trajgru"))
    assert {"agents.trajgru", "agents.networks.recurrent", "agents.learning.network_agent"} <= found
    assert "agents.conv2d" not in found
    assert "agents.moving_mnist" not in found


def test_an_agent_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"did you mean 'agents\.rover'"):
        code_digest("agents.rovr")
