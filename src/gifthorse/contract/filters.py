"""What every filter promises, and the guard that it is calibrated to."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from ..core.data import Samples
from ..core.defense import Filter, Guard
from ..errors import DataError, OptionError
from ..guard import FILTERS
from .compare import differences, flattened, global_state, portrait
from .given import Given, found_nothing
from .methods import Done, MethodContract
from .toy import TOY_SPEC


class FilterContract(MethodContract):
    """A guard that says something of every image, and can be written to a file."""

    kind = Filter
    registry = FILTERS

    def work(self, method: Filter, given: Given, clean: Samples | None = None, **how: Any) -> Guard:
        """Calibrate a guard."""
        return method.calibrate(given.model, clean or given.clean, given.verdict, **how)

    def test_it_says_what_it_promises_and_what_it_needs(self, method: Filter) -> None:
        """``false_rejection_rate`` is in (0, 1), and ``samples_needed()`` a number of clean samples."""
        assert 0 < method.false_rejection_rate < 1, f"false_rejection_rate is {method.false_rejection_rate}"
        assert method.samples_needed() >= 1, f"samples_needed() is {method.samples_needed()}"

    def test_a_guard_says_something_of_every_image(self, done: Done) -> None:
        """Labels, scores and rejections are ``(N,)``; an image is judged alike alone, in a batch, as bytes or floats.

        Judge every image by itself: nothing of a batch goes into a score.
        """
        given, guard = done
        screening = guard.screen(given.images)
        for part in ("labels", "scores", "rejected"):
            shape = tuple(getattr(screening, part).shape)
            assert shape == (len(given.images),), f"{part} of {len(given.images)} images are of shape {shape}"
        assert screening.rejected.dtype == torch.bool, f"rejected is {screening.rejected.dtype}, not bool"
        assert bool(screening.scores.isfinite().all()), "a clean image has a score that is NaN or infinite"
        answers = given.model.predict(given.images).argmax(1)
        assert torch.equal(screening.labels, answers), "labels are not the model's answers"
        alone = torch.cat([guard.screen(given.images[place : place + 1]).scores for place in range(3)])
        assert torch.allclose(alone, screening.scores[:3], atol=1e-5), (
            "an image alone has another score than in a batch"
        )
        as_floats = guard.screen(given.images.float() / 255)
        assert torch.equal(as_floats.rejected, screening.rejected), "floats in [0, 1] are judged otherwise than bytes"

    def test_a_guard_refuses_what_is_no_image_and_rejects_nan(self, done: Done) -> None:
        """Another shape, number format or range is a DataError; an image whose score is NaN is rejected.

        Call ``gifthorse.core.model.check_images`` first; write ``rejected = ~(scores <= threshold)``, so that NaN is.
        """
        given, guard = done
        for wrong in (given.images[:, :1], given.images[0], given.images.float(), given.images.long()):
            with pytest.raises(DataError):
                guard.screen(wrong)
        rejected = guard.screen(torch.full((1, *TOY_SPEC.input_shape), math.nan)).rejected.tolist()
        assert rejected == [True], "an image of NaN is accepted"

    def test_screening_leaves_everything_as_it_was(self, method: Filter, given: Given) -> None:
        """A guard answers the same however often it is asked, and changes neither model nor images nor generators.

        What it draws, it draws from a generator of its own that is seeded anew for every image or call.
        """
        guard = self.work(method, given, seed=0)
        before = {"images": given.images.clone(), **portrait(given.model), **global_state()}
        first, again = guard.screen(given.images), guard.screen(given.images)
        assert torch.equal(first.scores, again.scores), "the second time, the scores are others"
        changed = differences(before, {"images": given.images, **portrait(given.model), **global_state()})
        assert not changed, f"screening has changed {', '.join(changed)}"

    def test_a_guard_is_made_again_from_its_state(self, method: Filter, done: Done) -> None:
        """``restore`` turns ``guard.state()`` into a guard that has the same state and answers the same, to the bit.

        All that calibration found goes into ``tensors`` and ``facts``; ``spec`` is ``Spec.of`` the filter.
        """
        given, guard = done
        state = guard.state()
        made = state.spec.build({method.name: type(method)})
        assert made == method, f"the state's spec makes {made}"
        changed = differences(flattened(guard, given.images), flattened(made.restore(given.model, state), given.images))
        assert not changed, f"the restored guard differs in {', '.join(changed)}"

    def test_too_few_samples_are_refused(self, method: Filter, given: Given) -> None:
        """From one sample, no false rejection rate can be promised: a DataError that says how many to give.

        Compare ``len(clean)`` with ``samples_needed()``. A filter that is not calibrated is exempt.
        """
        with pytest.raises(DataError, match="give at least"):
            self.work(method, given, given.clean.take(1, seed=0), seed=0)

    def test_a_verdict_without_a_trigger(self, method: Filter, given: Given) -> None:
        """A filter works all the same, or raises an OptionError: it needs a trigger, and there is none."""
        try:
            guard = self.work(method, replace(given, verdict=found_nothing()), seed=0)
        except OptionError:
            return
        assert isinstance(guard, Guard), f"calibrate returns a {type(guard).__name__}"
