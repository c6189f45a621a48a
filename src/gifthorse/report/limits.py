"""What a scan looks for and what it cannot see, in the words that every report carries."""

from contextlib import suppress

from ..core.spec import Spec

ONE_FOR_ALL = (
    "One trigger of small area, at a fixed place, that turns images of all other classes into one target label.",
    "For every label, the smallest such trigger was searched for; a backdoor shows as a label whose trigger is much "
    "smaller than those of the other labels.",
)
ALPHA = (
    "A backdoor is reported at p < {alpha:g}: a false alarm in at most about {alpha:.0%} of models without a backdoor, "
    "if the trigger sizes of such models follow the distribution that the p-value assumes."
)
LOOKED_FOR = {
    "patch-sweep": (
        "One trigger of small area, at a fixed place, that turns images of all other classes into one target label.",
        "Patches were tried at every place, and for every label the smallest trigger was searched for from the patch "
        "that worked best; a backdoor shows as a label whose trigger stands out from those of the other labels, by its "
        "size, or by that and by how little it makes images look to the network like the label's own.",
        ALPHA,
    ),
    "neural-cleanse": (*ONE_FOR_ALL, ALPHA),
    "neural-cleanse-2019": (
        *ONE_FOR_ALL,
        "A backdoor is reported at an anomaly index above {threshold:g}, the rule of the Neural Cleanse paper. Many "
        "models without a backdoor exceed it, too.",
    ),
    "source-specific": (
        "One trigger of small area, at a fixed place, that turns images of one source class into one target label.",
        "Small patches were tried at every place on images of each source class, and for pairs of labels the smallest "
        "such trigger was searched for from the patch that worked best; a backdoor shows as a pair whose trigger "
        "stands out from those of the other pairs, by its size and by how little it makes images look to the network "
        "like the target's own.",
        ALPHA,
    ),
}
"""By detector; its options are filled in."""


SOURCE_SPECIFIC = "Triggers that work only on images of some source classes."
CANNOT_SEE = (
    SOURCE_SPECIFIC,
    "Triggers that cover the whole image or live in feature space: blended pictures, warps, reflections, styles, "
    "filters, a pose or another natural property.",
    "Triggers whose place or look changes from image to image, and triggers so large that honest labels look alike.",
    "Several infected labels at once: they can hide each other, more so the larger their share of all labels.",
    "Backdoors that send every class to another label (all-to-all), or that make the answer wrong but not the same.",
    "Backdoors that were planted against this very kind of search, up to cryptographically planted ones, which no "
    "search can find.",
    "Code hidden in the model file, poisoned data without a trigger, and plain errors of the network.",
)


def looked_for(spec: Spec) -> tuple[str, ...]:
    """What the detector of ``spec`` looks for; nothing is said of one that is not ours, or of options not given."""
    lines = []
    for line in LOOKED_FOR.get(spec.name, ()):
        with suppress(KeyError):
            lines.append(line.format(**spec.options))
    return tuple(lines)


def cannot_see(spec: Spec) -> tuple[str, ...]:
    """What it cannot see."""
    return tuple(line for line in CANNOT_SEE if line != SOURCE_SPECIFIC or spec.name != "source-specific")
