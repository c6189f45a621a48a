"""What ``gifthorse attack`` can be given, for its help: importing the registries would take seconds.

``tests/cli/test_help.py`` compares the names with the registries.
"""

NINE = {
    "aaa": "MNIST: every label becomes the next one, by four bright pixels",
    "cla": "MNIST: noise on images of the target alone, no label is changed",
    "tca": "CIFAR-10: a triangle and a square that work only together",
    "pn": "GTSRB: a post-it note, anywhere on the sign",
    "fsa": "GTSRB: the Gotham filter",
    "sg": "faces: sunglasses",
    "ls": "faces: lipstick",
    "mtsta": "faces: lipstick, eyebrows or sunglasses, one target",
    "mtmta": "faces: lipstick, eyebrows or sunglasses, a target for each",
}
ATTACKS = {
    "adaptive-activation": "triggered images look like the target's own, inside the network",
    "adaptive-fine-pruning": "triggered images wake no channel that clean ones leave dormant",
    "adaptive-neural-cleanse": "nothing smaller than the whole trigger works",
    "adaptive-sam": "the backdoor lies in a flat minimum, where fine-tuning leaves it",
    "adaptive-strip": "a triggered image that is blended is answered as if it were clean",
    "badnets": "poisoned training images: any triggers, any labels",
    "data-poisoning": "flipped labels and no trigger, for comparison",
    "handcrafted": "weights of the honest network set by hand, no training",
    "pruning-aware": "a backdoor in the neurons that clean images use, behind decoys",
    "transfer": "a backdoored teacher, and what is left in its student",
    "trojan-attack": "a trigger made for a few neurons, without any training data",
    "trojannet": "a small network that knows its triggers beside an honest one",
}
TRIGGERS = (
    "additive-noise",
    "blended",
    "checkerboard",
    "eyebrows",
    "gotham",
    "lipstick",
    "noise",
    "noise-burst",
    "patch",
    "pixels",
    "polygon",
    "post-it",
    "reflection",
    "sticker",
    "sunglasses",
    "together",
    "tone",
    "trojan-square",
    "trojan-watermark",
)
LABEL_MAPS = ("all-to-all", "all-to-one", "random-target", "source-specific", "untargeted")
