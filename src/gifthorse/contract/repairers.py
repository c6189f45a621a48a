"""What every repairer promises."""

from dataclasses import replace
from typing import Any

import pytest

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.spec import Spec
from ..errors import OptionError
from ..repair import REPAIRERS
from .given import Given, found_nothing
from .methods import Done, MethodContract


class RepairerContract(MethodContract):
    """A new model, and what it was judged by."""

    kind = Repairer
    registry = REPAIRERS

    def work(self, method: Repairer, given: Given, clean: Samples | None = None, **how: Any) -> Repaired:
        """Repair the model."""
        return method.repair(given.model, clean or given.clean, given.verdict, **how)

    def test_a_repair_is_a_new_model_in_eval_mode(self, done: Done) -> None:
        """Nothing of it is shared with the model that was given; it has no gradients, and weights that are numbers.

        Begin with ``copy.deepcopy(model)``; end with ``.eval()`` and ``zero_grad()``.
        """
        given, repaired = done
        assert repaired.model is not given.model, "the repaired model is the model that was given"
        old, new = given.model.state_dict(), repaired.model.state_dict()
        places = {tensor.data_ptr() for tensor in old.values()}
        shared = [name for name, tensor in new.items() if tensor.data_ptr() in places]
        assert not shared, f"weights are shared with the model that was given: {shared}"
        assert not any(module.training for module in repaired.model.modules()), "a part is in training mode"
        assert all(parameter.grad is None for parameter in repaired.model.parameters()), "a gradient is left"
        assert repaired.model.spec == given.model.spec, "the repaired model takes or gives something else"
        assert all(bool(tensor.isfinite().all()) for tensor in new.values()), "a weight is NaN or infinite"

    def test_a_repair_says_what_it_was_judged_by(self, method: Any, done: Done) -> None:
        """Accuracy and flip rates are measured on clean samples that were held out, for each of the verdict's targets.

        Split ``clean``, repair with one part, and measure on the other, before and after.
        """
        given, repaired = done
        assert repaired.reason, "reason is empty: say why the repair was accepted or not"
        assert repaired.spec == Spec.of(method), "its spec is not that of the repairer: Spec.of(self)"
        rates = {"before": repaired.accuracy_before, "after": repaired.accuracy_after}
        assert all(0 <= one <= 1 for one in rates.values()), f"accuracy is in [0, 1], not {rates}"
        assert 0 < repaired.held_out < len(given.clean), f"{repaired.held_out} of {len(given.clean)} were held out"
        for flips in (repaired.flip_rate_before, repaired.flip_rate_after):
            assert flips.keys() == set(given.verdict.targets), f"flip rates are of {set(flips)}, not of the targets"

    def test_a_verdict_without_a_trigger(self, method: Repairer, given: Given) -> None:
        """A repairer works all the same, or says in ``needs_trigger`` that it cannot, and raises an OptionError."""
        given = replace(given, verdict=found_nothing())
        if method.needs_trigger:
            with pytest.raises(OptionError):
                self.work(method, given, seed=0)
        else:
            assert isinstance(self.work(method, given, seed=0), Repaired)
