"""What every method promises, whichever it is."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, ClassVar

import pytest
import torch

from ..core.data import Samples
from ..core.spec import Spec
from ..errors import DataError, OptionError
from ..plugins import Registry
from .compare import differences, flattened, global_state, portrait
from .given import Given, new_given

Done = tuple[Given, Any]


def wrong_size(clean: Samples) -> Samples:
    """Images one pixel too narrow."""
    return Samples(clean.images[..., :-1], clean.labels)


def wrong_channels(clean: Samples) -> Samples:
    """Images of one channel instead of three."""
    return Samples(clean.images[:, :1], clean.labels)


def wrong_label(clean: Samples) -> Samples:
    """A label that the model does not have."""
    return Samples(clean.images, clean.labels + 1)


class MethodContract:
    """What every method promises; the contract of its kind says what else.

    Attributes:
        methods: what is tested: instances, set so that they are quick. The promises do not depend on the options.
        exempt: promises that none of ``methods`` makes: the test's name, and the reason. Such a test has to fail.
        kind: the base class of such methods.
        registry: where such methods are found by their names.
    """

    methods: ClassVar[tuple[Any, ...]] = ()
    exempt: ClassVar[Mapping[str, str]] = {}
    kind: ClassVar[type[Any]]
    registry: ClassVar[Registry[Any]]
    _done: ClassVar[dict[int, tuple[Any, Done]]] = {}  # with the method itself, so that its id stays its own

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for method in cls.methods:
            if not isinstance(method, cls.kind):
                raise OptionError(f"{cls.__name__}.methods has {method!r}, which is no instance of {cls.kind.__name__}")
        for name, reason in cls.exempt.items():
            if not name.startswith("test_") or not hasattr(cls, name):
                promises = ", ".join(one for one in dir(cls) if one.startswith("test_"))
                raise OptionError(f"{cls.__name__}.exempt has {name!r}; the promises are {promises}")
            if not reason:
                raise OptionError(f"{cls.__name__}.exempt: say why {name} does not hold")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every promise is a test of every method."""
        if "method" not in metafunc.fixturenames:
            return
        if not self.methods:
            raise OptionError(f"{type(self).__name__} tests nothing; name methods in it: methods = (MyMethod(),)")
        reason = self.exempt.get(metafunc.function.__name__)
        marks = [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] if reason else []
        names = [str(getattr(method, "name", type(method).__name__)) for method in self.methods]
        ids = [
            f"{name}-{names[:place].count(name) + 1}" if name in names[:place] else name
            for place, name in enumerate(names)
        ]
        rows = [pytest.param(method, marks=marks, id=one) for method, one in zip(self.methods, ids, strict=True)]
        metafunc.parametrize("method", rows)

    def work(self, method: Any, given: Given, clean: Samples | None = None, **how: Any) -> Any:
        """Let ``method`` do its work on ``clean``, or on what is given; ``how`` is the seed and the progress."""
        raise NotImplementedError

    @pytest.fixture
    def given(self) -> Given:
        """What the methods are given, for one test alone."""
        return new_given()

    @pytest.fixture
    def done(self, method: Any) -> Done:
        """What a method was given and what came of it, once for all tests that only look at it."""
        if id(method) not in self._done:
            given = new_given()
            self._done[id(method)] = method, (given, self.work(method, given, seed=0))
        return self._done[id(method)][1]

    def test_it_is_offered_under_its_name(self, method: Any) -> None:
        """Whoever names it on the command line, in a grid or in a file of results gets this class.

        Declare the entry point, and install the package (again).
        """
        kind = type(method)
        group, place = self.registry.group, f"{kind.__module__}:{kind.__qualname__}"
        declared = f'[project.entry-points."{group}"] {method.name} = "{place}"'
        assert method.name in self.registry, f"nothing is called {method.name!r}; declare {declared} and install it"
        found = self.registry[method.name]
        assert found is kind, f"{method.name!r} is {found.__module__}:{found.__qualname__}; choose another name"

    def test_options_are_a_frozen_dataclass(self, method: Any) -> None:
        """Options are fields with defaults; they never change; two with the same options are equal and hash alike.

        Write ``@dataclass(frozen=True)`` above the class, ``name: ClassVar[str] = …`` in it, and give each option a
        default. Options that are lists or dicts have no hash: make them tuples.
        """
        kind = type(method)
        assert is_dataclass(kind), f"{kind.__name__} is no dataclass"
        names = [option.name for option in fields(kind)]
        assert "name" not in names, "name is an option; it has to be a ClassVar[str], the same for all"
        default = kind()
        with pytest.raises(FrozenInstanceError):
            setattr(default, [*names, "anything"][0], None)
        assert default == kind(), f"two {kind.__name__}() are not equal; do not set eq=False"
        assert hash(default) == hash(kind()), f"two {kind.__name__}() are equal and hash differently"

    def test_the_spec_is_json_and_builds_the_same_method(self, method: Any) -> None:
        """A method goes into a file as its name and options, and comes back equal.

        Options are texts, numbers, truth values, tuples of these, or methods that the ClassVar ``parts`` has the
        registry of. A ``__post_init__`` that changes options must change them to what it would leave as it is.
        """
        kind = type(method)
        for one in (kind(), method):
            written = json.loads(json.dumps(Spec.of(one).to_json(), allow_nan=False))
            again = Spec(written["name"], written["options"]).build({method.name: kind})
            assert again == one, f"{one} comes back from JSON as {again}"

    def test_every_option_is_documented(self, method: Any) -> None:
        """The class says under ``Attributes:`` what each option means: ``    option: what it is.``, one a line."""
        said = inspect.cleandoc(type(method).__doc__ or "")
        silent = [option.name for option in fields(type(method)) if f"\n    {option.name}: " not in said]
        assert not silent, f"the docstring of {type(method).__name__} does not say what {', '.join(silent)} is"

    def test_what_was_given_is_left_as_it_was(self, method: Any, given: Given) -> None:
        """Model, samples, random generators and the gradient mode are as they were, to the bit.

        Work on ``copy.deepcopy(model)``; remove hooks in a ``finally``; ask ``torch.autograd.grad`` for gradients of
        the images instead of ``backward``; draw from ``torch.Generator().manual_seed(seed)``.
        """
        before = self._state(given)
        self.work(method, given, seed=0)
        changed = differences(before, self._state(given))
        assert not changed, f"{method.name} has changed {', '.join(changed)}"

    def _state(self, given: Given) -> dict[str, Any]:
        samples = {"clean": given.clean, "training data": given.victim.train}
        parts = {f"model: {name}": value for name, value in portrait(given.model).items()}
        for name, one in samples.items():
            parts |= {f"images of {name}": one.images.clone(), f"labels of {name}": one.labels.clone()}
        return parts | global_state()

    def test_same_seed_same_answer(self, method: Any, given: Given) -> None:
        """All that is drawn comes from the seed, and the result says which it was.

        Draw from ``torch.Generator().manual_seed(seed)``, not from global generators; do not rely on the order of a
        set; hand ``seed`` on to the result.
        """
        first = flattened(self.work(method, given, seed=1), given.images)
        with torch.random.fork_rng(devices=[]):
            torch.rand(5)
            again = flattened(self.work(method, given, seed=1), given.images)
            other = flattened(self.work(method, given, seed=2), given.images)
        changed = differences(first, again)
        assert not changed, f"{method.name} has answered otherwise with the same seed: {', '.join(changed[:5])}"
        assert differences(first, other), f"{method.name} answers the same with another seed, even which seed it was"

    def test_progress_never_goes_back_and_ends_at_its_total(self, method: Any, given: Given) -> None:
        """Whoever waits is told how far the work is, and at the end that all of it is done.

        Call ``progress("what", done=…, total=…)``: ``done`` grows, ``total`` stays, and the last call has them equal.
        """
        told: dict[str, list[tuple[float, float]]] = {}

        def progress(what: str, *, done: float, total: float) -> None:
            told.setdefault(what, []).append((done, total))

        self.work(method, given, seed=0, progress=progress)
        assert told, f"{method.name} never calls progress"
        for what, steps in told.items():
            done = [done for done, _ in steps]
            totals = {total for _, total in steps}
            assert done == sorted(done), f"progress of {what!r} goes back: {done}"
            assert len(totals) == 1, f"the total of {what!r} changes: {sorted(totals)}"
            assert done[-1] in totals, f"{what!r} ends at {done[-1]} of {totals.pop()}"

    @pytest.mark.parametrize("change", [wrong_size, wrong_channels, wrong_label])
    def test_samples_that_do_not_fit_are_refused(
        self, method: Any, given: Given, change: Callable[[Samples], Samples]
    ) -> None:
        """Images of another size and labels that the model does not have are a DataError, before any work is done.

        Begin with ``clean.check_fits(model.spec)``; an attack with ``victim.train.check_fits(model.spec)``.
        """
        with pytest.raises(DataError, match=r"images are|out of range"):
            self.work(method, given, change(given.clean), seed=0)
