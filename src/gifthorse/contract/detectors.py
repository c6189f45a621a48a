"""What every detector promises."""

import json
import math
from typing import Any

from ..core.data import Samples
from ..core.defense import Detector
from ..core.spec import Spec
from ..core.verdict import Outcome, Verdict
from ..detect import DETECTORS
from .given import Given
from .methods import Done, MethodContract
from .toy import TOY_SPEC


class DetectorContract(MethodContract):
    """A verdict that can be read without knowing which detector it is from."""

    kind = Detector
    registry = DETECTORS

    def work(self, method: Detector, given: Given, clean: Samples | None = None, **how: Any) -> Verdict:
        """Inspect the model."""
        return method.inspect(given.model, clean or given.clean, **how)

    def test_a_verdict_is_complete(self, method: Any, done: Done) -> None:
        """It says why, what it was measured against, and by which options; targets are there if one was found.

        ``targets`` and ``labels`` stand from the most to the least suspicious, a label once; each of ``targets`` is
        among ``labels``. ``cost`` is JSON. What is not known of a label is 0 where a finite number is asked for.
        """
        verdict: Verdict = done[1]
        assert isinstance(verdict, Verdict), f"inspect returns a {type(verdict).__name__}"
        found = verdict.outcome is Outcome.BACKDOOR_FOUND
        assert found == bool(verdict.targets), (
            f"the outcome is {verdict.outcome}, and the targets are {verdict.targets}"
        )
        labels = [one.label for one in verdict.labels]
        assert len(set(labels)) == len(labels), f"a label stands twice in {labels}"
        assert set(labels) <= set(range(TOY_SPEC.num_classes)), f"the model has no such labels: {labels}"
        assert set(verdict.targets) <= set(labels), f"no evidence for one of the targets {verdict.targets}"
        assert [one.label for one in verdict.triggers] == list(verdict.targets)
        assert verdict.reason, "reason is empty: say why this outcome"
        assert verdict.null, "null is empty: say what the p-value was computed against, or that there is none"
        assert verdict.spec == Spec.of(method), "the verdict's spec is not that of the detector: Spec.of(self)"
        json.dumps(verdict.cost, allow_nan=False)
        for one in verdict.labels:
            where = f"label {one.label}"
            assert math.isfinite(one.score), f"{where}: the score is {one.score}"
            assert math.isfinite(one.norm), f"{where}: the norm is {one.norm}"
            assert 0 <= one.flip_rate <= 1, f"{where}: the flip rate is {one.flip_rate}; rates are in [0, 1]"

    def test_a_recovered_trigger_can_be_put_on_images(self, done: Done) -> None:
        """Every label's trigger has the shape of the model's images, values in [0, 1], and lies on the CPU."""
        channels, height, width = TOY_SPEC.input_shape
        for one in done[1].labels:
            assert one.trigger.mask.shape == (1, height, width), f"label {one.label}: the mask is not (1, H, W)"
            assert one.trigger.pattern.shape == (channels, height, width), f"label {one.label}: no pattern (C, H, W)"
            for part in (one.trigger.mask, one.trigger.pattern):
                low, high = float(part.min()), float(part.max())
                assert 0 <= low <= high <= 1, f"label {one.label}: the trigger goes from {low} to {high}; clamp it"
                assert part.device.type == "cpu", f"label {one.label}: the trigger is on {part.device}; use .cpu()"

    def test_every_label_was_looked_at(self, done: Done) -> None:
        """There is evidence for each of the model's labels.

        A detector that looks at the model as a whole, or leaves labels out by design, is exempt.
        """
        missing = set(range(TOY_SPEC.num_classes)) - {one.label for one in done[1].labels}
        assert not missing, f"nothing is said of the labels {sorted(missing)}"

    def test_p_values_are_probabilities(self, done: Done) -> None:
        """All p-values are in [0, 1], or all are NaN: then there is none."""
        p_values = _p_values(done[1])
        nothing = all(math.isnan(one) for one in p_values)
        assert nothing or all(0 <= one <= 1 for one in p_values), f"these are no p-values: {p_values}"

    def test_there_is_a_p_value(self, done: Done) -> None:
        """How often a model without a backdoor would look as suspicious: without it, nobody knows what a score means.

        Compare with honest models, or with the model's own labels. A method that decides by something else is exempt.
        """
        p_values = _p_values(done[1])
        assert not any(math.isnan(one) for one in p_values), f"there is no p-value: {p_values}"

    def test_one_sample_is_inconclusive_and_says_what_would_help(self, method: Detector, given: Given) -> None:
        """What cannot be told is not called clean: the outcome is INCONCLUSIVE, and the reason says what to give.

        A detector that needs no samples is exempt.
        """
        verdict = self.work(method, given, given.clean.take(1, seed=0), seed=0)
        assert verdict.outcome is Outcome.INCONCLUSIVE, f"from one sample, {method.name} says {verdict.outcome}"
        assert "give" in verdict.reason, f"{verdict.reason!r} does not say what to give: 'give at least …'"


def _p_values(verdict: Verdict) -> list[float]:
    return [verdict.p_value, *(one.p_value for one in verdict.labels)]
