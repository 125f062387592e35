"""`limner methods` reads abilities from source files, and reads what the classes themselves say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from limner.cli.main import main
from limner.cli.methods import abilities
from limner.core import registry
from limner.core.abilities import abilities_of


@pytest.mark.parametrize("name", registry.built_in())
def test_abilities_are_those_of_the_class(name: str) -> None:
    assert abilities(registry.file_of(name)) == abilities_of(registry.get(name))


def test_every_sort_has_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    painting, matching, parts, *_ = capsys.readouterr().out.split("\n\n")
    for section, sort in ((painting, "method"), (matching, "matching"), (parts, "part")):
        assert [line.split()[0] for line in section.splitlines()[1:]] == registry.built_in(sort)
    assert "[looks, describes]" in next(line for line in painting.splitlines() if line.startswith("  mirrorgan "))
    assert "[" not in matching and "[" not in parts


def test_it_does_without_torch() -> None:
    code = "import sys\nfrom limner.cli.main import main\nassert main(['methods']) == 0\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
