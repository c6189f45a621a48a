"""The page of ``feature_squeezing.py``, and its picture."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from gifthorse.metrics import clopper_pearson

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "feature-squeezing.svg"
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
SHORT = {"next": "next", "least-likely": "LL", None: ""}
TRIGGERS = {"patch": "white patch", "pixels": "four pixels", "blended": "blended noise", "noise": "square of noise",
            "reflection": "reflection (ghost)"}  # fmt: skip
COLOURS = {"patch": "#3b6ea5", "pixels": "#4f8a4c", "blended": "#c2562b", "noise": "#4f8a4c", "reflection": "#8a4f8a"}

# Both from memory of the paper, not read; the survey's text of Table IV has lost columns.
# Table IV of Xu et al.: share of the successful examples that is rejected where about 5 % of clean images are.
OVERALL = {
    "mnist": {"bits-1": 90.3, "bits-2": 65.6, "median-2": 86.8, "median-3": 78.1, "joint": 98.2},
    "cifar10": {
        "bits-1": 1.3, "bits-2": 2.2, "bits-3": 40.9, "bits-4": 44.6, "bits-5": 30.9, "median-2": 83.6,
        "median-3": 48.6, "nlm-11-3-2": 48.4, "nlm-11-3-4": 55.1, "nlm-13-3-2": 49.0, "nlm-13-3-4": 54.7,
        "joint": 84.5,
    },
}  # fmt: skip
# Table III: accuracy on clean images, and on all adversarial examples.
ACCURACY = {
    "mnist": {"none": (99.43, None), "bits-1": (99.33, 62.7), "median-2": (99.28, 48.1), "median-3": (98.95, 55.5)},
    "cifar10": {
        "none": (94.84, 2.2), "bits-5": (94.55, 20.5), "bits-4": (93.11, 44.8), "median-2": (89.29, 77.2),
        "nlm-11-3-4": (91.18, 53.0),
    },
}  # fmt: skip


HEAD = """\
# Feature squeezing

Made by `python experiments/feature_squeezing.py`; the numbers in full, with every interval, are in
`feature_squeezing.json`. Percent, unless it says otherwise; intervals are 95 %, Clopper-Pearson. The method is that of
Xu, Evans and Qi (NDSS 2018), and the tables of adversarial examples have the shape of that paper's Tables III and IV,
which the survey of Yang shows for backdoors.

`bits-4` keeps four bits of each channel, `median-2` takes the median of 2×2 pixels, `nlm-11-3-4` is non-local means
with a window of 11, patches of 3 and a strength of 4 levels of a byte. *joint* is what the filter `feature-squeezing`
does unless it is told otherwise: the greatest distance of bits-1 and median-2 on grey images, of bits-5, median-2 and
nlm-11-3-4 on coloured ones. Thresholds promise that 5 % of clean images are rejected; they come from 500 test images,
the rates on clean images (FRR, clean) from 1,000 others, and what is attacked or gets a trigger from 1,000 others
again. One network a data set and trigger, one seed: two convolutions (`mnist`), on CIFAR-10 10 epochs on 25,000 images.

The paper's columns are from memory, as the paper was not at hand; the survey's copy of the table has lost columns, and
confirms 90.3, 78.1 and 98.2 on MNIST and 84.5 on CIFAR-10. The joint squeezers for colour are those that it names.
"""
ATTACKED = """\
100 images that the honest network gets right. *found*: the attack's own success; *success*: what is left of it when the
images are rounded to bytes, as files have them; all below is about that. Targets: the next label, or the least likely
(LL). L0 in pixels, L2 and Linf in units of a pixel's value, mean over what was found. `fmn-l0` and `fmn-linf` (Pintor
et al. 2021) stand for Carlini and Wagner's L0 and Linf attacks, which foolbox lacks and the Adversarial Robustness
Toolbox did not do well when the libraries were chosen; `cw-l2` has a confidence of 5, 200 steps and 5 rounds.
"""
DETECTED = """\
**Detection**: share of the successful examples that is rejected. The intervals of *all* take them for independent,
though they are made from the same 100 images.
"""
AREAS = """\
**Area under the ROC curve**, successful examples against clean images:
"""
REFORMED = """\
**Input reformation**: accuracy if the answer to the squeezed image is taken; of clean images, and of the attacked
ones, whether the attack on them succeeded or not.
"""
ON_TRIGGERS = """\
## Triggers of backdoors

BadNets with 10 % poisoned images (reflections: 30 %) and one target, beside their honest twins. CA and ASR on the
whole test set:
"""
SQUEEZED = """\
Then each squeezer. CA: accuracy of the squeezed prediction on 1,000 clean images. ASR: triggered images, of labels
other than the target, that are still called the target; *right*: that are called what they are. *detected*: triggered
images that are rejected, at a threshold from clean images of the same network; the last column is the honest twin with
the same images, on which the trigger is no more than a blot.
"""
CURVES = """\
![ROC curves of the joint detector: grey for the adversarial examples of each attack, coloured for the
triggers](../images/feature-squeezing.svg)
"""
WHY = """\
## What differs, and why

- **MNIST.** {mnist_joint} % of all successful examples are rejected, the paper has 98.2. The attacks are not quite the
  same: Carlini and Wagner's are short, or have a stand-in.
- **CIFAR-10.** {cifar10_joint} %, the paper has 84.5. The network is a small one, trained for minutes: it gets
  {cifar10_accuracy} % of clean images right, the paper's 94.84. An answer may be right again without having moved
  far: of the images that `fmn-linf next` attacked, median-2 gives {back} % back, but it rejects {seen} % of the
  successful examples. As input reformation median-2 gets {reformed} % of all attacked images right, in the paper 77.2.
  FGSM and BIM have the paper's budgets.
- **The greatest distance is the median's.** On clean colour images median-2 moves answers so much further (threshold
  {median} against {bits} for bits-5 and {means} for nlm-11-3-4) that the joint detector sees next to nothing of what
  the other two see: of BIM's examples nlm-11-3-4 rejects {bim_means} % and the joint detector {bim_joint} %. That is
  the paper's rule; a threshold for each squeezer would be another one, and was not measured.
- **Non-local means** moves clean answers less than in the paper, whose threshold for 11-3-4 is 0.75. OpenCV, which the
  paper uses, smooths lightness and colour each by itself, and so more; the images here are also re-encoded as JPEG.
- **Rounded to bytes**, {deepfool_mnist} % (MNIST) and {deepfool_cifar10} % (CIFAR-10) of DeepFool's attacks still
  succeed; it ends just beyond the border. Whoever measures unrounded examples measures some that no file can hold.
- **A white patch passes.** On MNIST {patch_mnist} % of the images with it are rejected and on CIFAR-10
  {patch_cifar10} %, fewer than of clean images: squeezing moves the backdoored network's answer less than that to an
  ordinary image (AUC {area_mnist} and {area_cifar10}). Its success behind median-3 is {behind_mnist} and
  {behind_cifar10} %, behind one bit {bit_mnist} and {bit_cifar10} %, the latter at an accuracy of {bit_accuracy} %.
- **Single pixels and noise** are another matter. A median takes four pixels away (ASR {pixels} % behind median-3) and
  much of a square of noise ({noise} % behind median-2); one bit takes away the noise that is blended into digits
  ({blended} %), which median-3 leaves as it was ({blended_median} %). What works on one trigger does nothing to the
  next, and a defender does not know which one there is.
- **Reflections** pass like patches: {reflection} % are rejected.
- **The survey** says of its table that about nine in ten *backdoor* attacks are detected. The table is of adversarial
  examples. Of the triggers here, the joint detector rejects between {least} and {most} %.
- An attack that knows the squeezers was not tried, neither on examples nor on triggers.
"""


def written(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the picture; returns the page as Markdown."""
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none", "font.size": 9}):
        draw(rows).savefig(PICTURE, metadata={"Date": None})
    parts = [HEAD]
    for data, title in DATA.items():
        (clean,) = (row for row in rows if row["kind"] == "clean" and row["data"] == data)
        attacks = [row for row in rows if row["kind"] == "adversarial" and row["data"] == data]
        parts += [f"## Adversarial examples on {title}\n", ATTACKED, attack_table(attacks)]
        parts += [DETECTED, detection_table(clean, attacks, data), AREAS, area_table(clean, attacks)]
        parts += [REFORMED, accuracy_table(clean, attacks, data)]
    parts.append(ON_TRIGGERS)
    triggers = [row for row in rows if row["kind"] == "trigger"]
    parts += [models_table(triggers), SQUEEZED, trigger_table(triggers), CURVES, WHY.format(**facts(rows))]
    return "\n".join(parts)


def attack_table(attacks: Sequence[Mapping[str, Any]]) -> str:
    """What the attacks did before anybody squeezed."""
    heads = ["attack", "target", "found", "success", "of", "95 %", "L0", "L2", "Linf", "seconds"]
    lines = []
    for row in attacks:
        found, success = row["found"], row["success"]
        distances = [row["mean_l0"], row["mean_l2"], row["mean_linf"]]
        shown = [f"{distances[0]:.1f}", f"{distances[1]:.2f}", f"{distances[2]:.3f}"] if distances[0] else ["–"] * 3
        lines.append([
            row["attack"], SHORT[row["targets"]], percent(found), percent(success), str(success["of"]), bounds(success),
            *shown, f"{row['seconds']:.0f}",
        ])  # fmt: skip
    return table(heads, lines)


def detection_table(clean: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], data: str) -> str:
    """Squeezers × attacks."""
    heads = ["squeezer", "threshold", "FRR", *map(name, attacks), "all", "95 %", "paper, all"]
    lines = []
    for squeezer, limit in clean["thresholds"].items():
        all_ = pooled(row["detected"][squeezer] for row in attacks)
        own = [percent(row["detected"][squeezer]) for row in attacks]
        lines.append([
            squeezer, f"{limit:.4f}", percent(clean["false_rejections"][squeezer]), *own, percent(all_), all_["bounds"],
            number(OVERALL[data].get(squeezer)),
        ])  # fmt: skip
    intervals = [bounds(row["detected"]["joint"]) for row in attacks]
    lines.append(["joint, 95 %", "", bounds(clean["false_rejections"]["joint"]), *intervals, "", "", ""])
    return table(heads, lines)


def area_table(clean: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]]) -> str:
    """Likewise, without any threshold."""
    areas = [
        [squeezer, *("–" if row["auc"][squeezer] is None else f"{row['auc'][squeezer]:.3f}" for row in attacks)]
        for squeezer in clean["thresholds"]
    ]
    return table(["squeezer", *map(name, attacks)], areas)


def accuracy_table(clean: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], data: str) -> str:
    """Squeezed predictions that are right."""
    heads = ["squeezer", "clean", "95 %", *map(name, attacks), "all", "95 %", "paper, clean", "paper, all"]
    lines = []
    for squeezer, usual in clean["accuracy"].items():
        all_ = pooled(row["accuracy"][squeezer] for row in attacks)
        paper = [number(one) for one in ACCURACY[data].get(squeezer, (None, None))]
        own = [percent(row["accuracy"][squeezer]) for row in attacks]
        lines.append([squeezer, percent(usual), bounds(usual), *own, percent(all_), all_["bounds"], *paper])
    return table(heads, lines)


def models_table(triggers: Sequence[Mapping[str, Any]]) -> str:
    """The backdoored models and their twins."""
    heads = ["data", "trigger", "CA", "CA twin", "ASR", "ASR twin", "took"]
    lines = []
    for row in triggers:
        accuracy, success = row["test_accuracy"], row["test_success"]
        rates = [accuracy["backdoored"], accuracy["honest"], success["backdoored"], success["honest"]]
        shown = [f"{100 * one['rate']:.2f}" for one in rates]
        lines.append([DATA[row["data"]], TRIGGERS[row["trigger"]["name"]], *shown, "yes" if row["took"] else "**no**"])
    return table(heads, lines)


def trigger_table(triggers: Sequence[Mapping[str, Any]]) -> str:
    """Squeezers on triggers: what is left of accuracy and success, and what is noticed, beside the twin."""
    heads = ["data", "trigger", "squeezer", "CA", "ASR", "right", "ASR twin", "FRR", "detected", "95 %", "AUC",
             "detected, twin"]  # fmt: skip
    lines = []
    for row in triggers:
        own, twin = row["backdoored"], row["honest"]
        names = [*own["accuracy"], "joint"]
        for place, squeezer in enumerate(names):
            about = [DATA[row["data"]], TRIGGERS[row["trigger"]["name"]]] if place == 0 else ["", ""]
            cells = ["–"] * 4
            if squeezer in own["accuracy"]:
                cells = [
                    percent(own["accuracy"][squeezer]),
                    percent(own["success"][squeezer]),
                    percent(own["accuracy_with_trigger"][squeezer]),
                    percent(twin["success"][squeezer]),
                ]
            noticed = ["–"] * 5
            if squeezer in own["detected"]:
                hit = own["detected"][squeezer]
                noticed = [percent(own["false_rejections"][squeezer]), percent(hit), bounds(hit)]
                noticed += [f"{own['auc'][squeezer]:.3f}", percent(twin["detected"][squeezer])]
            lines.append([*about, squeezer, *cells, *noticed])
    return table(heads, lines)


def facts(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The numbers of the last section, from the rows."""
    found: dict[str, str] = {}
    for data in DATA:
        (clean,) = (row for row in rows if row["kind"] == "clean" and row["data"] == data)
        attacks = [row for row in rows if row["kind"] == "adversarial" and row["data"] == data]
        found[f"{data}_accuracy"] = percent(clean["accuracy"]["none"])
        found[f"{data}_threshold"] = f"{clean['thresholds']['joint']:.4f}"
        found[f"{data}_joint"] = percent(pooled(row["detected"]["joint"] for row in attacks))
    by = {row["name"]: row for row in rows}
    next_, bim = by["cifar10-fmn-linf-next"], by["cifar10-bim"]
    attacks = [row for row in rows if row["kind"] == "adversarial" and row["data"] == "cifar10"]
    found["back"] = percent(next_["accuracy"]["median-2"])
    found["seen"] = percent(next_["detected"]["median-2"])
    found["reformed"] = percent(pooled(row["accuracy"]["median-2"] for row in attacks))
    limits = by["cifar10-clean"]["thresholds"]
    for name_, squeezer in (("median", "median-2"), ("bits", "bits-5"), ("means", "nlm-11-3-4")):
        found[name_] = f"{limits[squeezer]:.3f}"
    found["bim_means"], found["bim_joint"] = (percent(bim["detected"][one]) for one in ("nlm-11-3-4", "joint"))
    for data in DATA:
        found[f"deepfool_{data}"] = percent(by[f"{data}-deepfool"]["success"])
        found[f"patch_{data}"] = percent(by[f"{data}-patch"]["backdoored"]["detected"]["joint"])
    found["pixels"] = percent(by["mnist-pixels"]["backdoored"]["success"]["median-3"])
    blended = by["mnist-blended"]["backdoored"]["success"]
    found["blended"], found["blended_median"] = (percent(blended[one]) for one in ("bits-1", "median-3"))
    found["noise"] = percent(by["cifar10-noise"]["backdoored"]["success"]["median-2"])
    for data in DATA:
        patch = by[f"{data}-patch"]["backdoored"]
        found[f"area_{data}"] = f"{patch['auc']['joint']:.2f}"
        found[f"behind_{data}"] = percent(patch["success"]["median-3"])
        found[f"bit_{data}"] = percent(patch["success"]["bits-1"])
    found["bit_accuracy"] = percent(by["cifar10-patch"]["backdoored"]["accuracy"]["bits-1"])
    found["reflection"] = percent(by["cifar10-reflection"]["backdoored"]["detected"]["joint"])
    rates = [100 * rate(row["backdoored"]["detected"]["joint"]) for row in rows if row["kind"] == "trigger"]
    found["least"], found["most"] = f"{min(rates):.1f}", f"{max(rates):.1f}"
    return found


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """ROC curves of the joint detector, on examples and on triggers."""
    figure = Figure(figsize=(9, 3.8))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (data, title) in zip(axes, DATA.items(), strict=True):
        for row in rows:
            own = row.get("backdoored", row)
            if row["data"] != data or own.get("roc") is None:
                continue
            style: dict[str, Any] = {"color": "0.75", "linewidth": 1}
            if row["kind"] == "trigger":
                style = {"color": COLOURS[row["trigger"]["name"]], "label": TRIGGERS[row["trigger"]["name"]]}
            # The last point rejects all but the least suspicious clean image, and is left out.
            axis.plot(*zip(*own["roc"][:-1], strict=True), **style)
        axis.plot([], [], color="0.75", label="adversarial examples, one line an attack")
        chance = [10 ** (step / 10 - 3) for step in range(31)]
        axis.plot(chance, chance, color="0.4", linewidth=0.8, linestyle=":", label="chance")
        axis.axvline(0.05, color="0.85", linewidth=0.8)
        axis.set(xscale="log", xlabel="share of clean images rejected", title=title, ylim=(-0.02, 1.02))
        axis.legend(fontsize=7, framealpha=0.9, loc="center right" if data == "mnist" else "upper left")
    axes[0].set_ylabel("share rejected")
    figure.tight_layout()
    return figure


def name(row: Mapping[str, Any]) -> str:
    """``cw-l2 next``."""
    return f"{row['attack']} {SHORT[row['targets']]}".strip()


def rate(share: Mapping[str, Any]) -> float:
    """NaN where there was nothing."""
    return share["hits"] / share["of"] if share["of"] else float("nan")


def pooled(shares: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all together, with its interval in percent."""
    taken = list(shares)
    hits, of = sum(one["hits"] for one in taken), sum(one["of"] for one in taken)
    interval = clopper_pearson(hits, of)
    return {"hits": hits, "of": of, "interval": interval, "bounds": bounds({"of": of, "interval": interval})}


def percent(share: Mapping[str, Any]) -> str:
    """``{"hits": 97, "of": 100, …}`` as ``97.0``."""
    return f"{100 * rate(share):.1f}" if share["of"] else "–"


def bounds(share: Mapping[str, Any]) -> str:
    """The interval as ``91.5–99.4``."""
    return "–".join(f"{100 * end:.1f}" for end in share["interval"]) if share["of"] else "–"


def number(value: float | None) -> str:
    """A number of the paper's, or a dash."""
    return "–" if value is None else f"{value}"


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    shown = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in shown)
