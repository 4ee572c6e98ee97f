"""The registry: names, facts, the scan of a package, plug-ins of other distributions."""

from __future__ import annotations

import sys
import textwrap
from importlib import metadata

import pytest

from tamis.errors import InputError, TamisWarning
from tamis.registry import Facts, Registry

FACTS = Facts(title="A thing", inputs=("features",))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the name of a package on disk with two modules that register a thing each, and a private one."""
    name = "tamis_registry_sample"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from tamis.registry import Facts, Registry\n"
        f"THINGS = Registry('thing', package='{name}', group='tamis.no_such_group')\n"
    )
    for module in ("alpha", "beta"):
        (folder / f"{module}.py").write_text(
            textwrap.dedent(
                f"""
                from tamis.registry import Facts
                from {name} import THINGS

                @THINGS.register("{module}", Facts(title="{module.title()}", inputs=(), year=2001))
                class Thing:
                    pass
                """
            )
        )
    (folder / "_private.py").write_text("raise RuntimeError('private modules are not imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for loaded in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[loaded]


def things(package):
    return __import__(package).THINGS


def test_the_scan_finds_every_public_module(package):
    registry = things(package)
    assert registry.names() == ("alpha", "beta")
    assert [entry.name for entry in registry] == ["alpha", "beta"]
    assert len(registry) == 2
    assert "alpha" in registry
    assert "gamma" not in registry


def test_facts_and_targets(package):
    registry = things(package)
    assert registry.facts("beta") == Facts(title="Beta", inputs=(), year=2001)
    assert registry.get("beta").__module__ == f"{package}.beta"


def test_an_unknown_name_suggests_near_ones(package):
    with pytest.raises(InputError, match=r"unknown thing 'alpa'; did you mean 'alpha'\? known: alpha, beta"):
        things(package).get("alpa")


def test_a_name_taken_elsewhere_is_refused(package):
    registry = things(package)
    registry.names()

    class Other:
        pass

    with pytest.raises(InputError, match=r"'alpha' is already taken by .*alpha\.Thing"):
        registry.register("alpha", FACTS)(Other)
    assert registry.get("alpha") is not Other


def test_the_same_definition_may_register_again(package):
    # Reloading a module runs its decorator again.
    registry = things(package)
    thing = registry.get("alpha")
    assert registry.register("alpha", FACTS)(thing) is thing
    assert registry.facts("alpha") == FACTS


@pytest.mark.parametrize("name", ["Two words", "Upper", "", "a-b"])
def test_odd_names_are_refused(package, name):
    with pytest.raises(InputError, match="lower-case identifier"):
        things(package).register(name, FACTS)


def test_a_failing_scan_is_repeated(package, tmp_path):
    broken = tmp_path / package / "gamma.py"
    broken.write_text("raise RuntimeError('not yet')\n")
    registry = things(package)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not yet"):
            registry.names()
    broken.unlink()
    assert registry.names() == ("alpha", "beta")


class Point:
    """A stand-in for an entry point."""

    def __init__(self, name, load):
        self.name = name
        self.value = f"{name}.module"
        self.load = load


def test_plug_ins_register_too(package, monkeypatch):
    registry = things(package)

    class Foreign:
        pass

    points = [Point("foreign", lambda: registry.register("foreign", FACTS)(Foreign))]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == registry.group else [])
    assert registry.get("foreign") is Foreign


def test_a_broken_plug_in_only_warns(package, monkeypatch):
    def fail():
        raise ImportError("no such library")

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Point("broken", fail)])
    with pytest.warns(TamisWarning, match=r"thing plug-in 'broken' \(broken\.module\).*no such library"):
        assert things(package).names() == ("alpha", "beta")


def test_a_plug_in_cannot_replace_a_built_in(package, monkeypatch):
    registry = things(package)

    class Foreign:
        pass

    points = [Point("alpha", lambda: registry.register("alpha", FACTS)(Foreign))]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    with pytest.warns(TamisWarning, match="already taken"):
        assert registry.get("alpha") is not Foreign
    assert isinstance(registry, Registry)
