"""What a scan looks for and what it cannot see, in the words that every report carries."""

LOOKED_FOR = (
    "One trigger of small area, at a fixed place, that turns images of all other classes into one target label.",
    "For every label, the smallest such trigger was searched for; a backdoor shows as a label whose trigger is much "
    "smaller than those of the other labels.",
    "A backdoor is reported at p < 0.01: a false alarm in at most about 1 in 100 models without a backdoor, if the "
    "trigger sizes of such models follow the distribution that the p-value assumes.",
)

CANNOT_SEE = (
    "Triggers that work only on images of some source classes.",
    "Triggers that cover the whole image or live in feature space: blended pictures, warps, reflections, styles, "
    "filters, a pose or another natural property.",
    "Triggers whose place or look changes from image to image, and triggers so large that honest labels look alike.",
    "Several infected labels at once: they can hide each other, more so the larger their share of all labels.",
    "Backdoors that send every class to another label (all-to-all), or that make the answer wrong but not the same.",
    "Backdoors that were planted against this very kind of search, up to cryptographically planted ones, which no "
    "search can find.",
    "Code hidden in the model file, poisoned data without a trigger, and plain errors of the network.",
)
