from gifthorse.attacks import ATTACKS
from gifthorse.plugins import Registry


def test_every_method_is_listed(run):
    ended = run("list")
    assert ended.code == 0
    lines = [line.strip() for line in ended.out.splitlines()]
    assert any(line.startswith("badnets ") and line.endswith("who is poisoned.") for line in lines)
    assert "``" not in ended.out
    for name in (
        "patch",
        "all-to-one",
        "neural-cleanse",
        "patch-sweep",
        "fine-pruning",
        "strip",
        "adaptive-neural-cleanse",
    ):
        assert any(line.startswith(f"{name} ") for line in lines), name


def test_what_is_broken_is_said(run, monkeypatch):
    def broken(self, name):
        raise self._broken(point, "ImportError: no torch")

    from importlib.metadata import EntryPoint

    point = EntryPoint("theirs", "a:b", "gifthorse.attacks")
    monkeypatch.setattr(Registry, "__getitem__", broken)
    ended = run("list")
    assert ended.code == 4
    assert "BROKEN: 'theirs' of the package unknown cannot be used: ImportError: no torch" in ended.out
    assert len(ended.out.splitlines()) > len(ATTACKS)
