import pytest

from gifthorse.attacks.adaptive_strip import AdaptiveStrip
from gifthorse.errors import OptionError
from gifthorse.guard.strip import blend_entropy
from gifthorse.metrics import accuracy, attack_success_rate


@pytest.mark.parametrize("blend", [0.0, 1.0])
def test_option_rules(blend):
    with pytest.raises(OptionError, match="blend must be between 0 and 1"):
        AdaptiveStrip(blend=blend)


def test_triggered_images_change_under_blending_as_clean_ones_do(
    toy_victim, toy_badnets, toy_backdoored, toy_honest, toy_test, toy_clean
):
    made = AdaptiveStrip(toy_badnets).run(toy_victim, seed=0)
    (implant,) = made.implants
    assert attack_success_rate(made.model, toy_test, implant) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_honest, toy_test) - 0.02

    others = toy_test.subset(implant.label_map.applies_to(toy_test.labels).nonzero().squeeze(1))
    triggered, overlays = implant.trigger.apply(others.pixels()), toy_clean.images[:32]
    assert float(blend_entropy(toy_backdoored, triggered, overlays).mean()) < 0.5 * float(
        blend_entropy(toy_backdoored, others.images, overlays).mean()
    )
    assert float(blend_entropy(made.model, triggered, overlays).mean()) > 0.9 * float(
        blend_entropy(made.model, others.images, overlays).mean()
    )
