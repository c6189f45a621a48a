"""The page on networks of other kinds."""

from typing import Any

SHOWN = {
    "mnist": "two convolutions",
    "badnets-mnist": "two convolutions, averages, softmax",
    "resnet-18-narrow": "residual, 18 layers, a quarter as wide",
}


def text(rows: list[dict[str, Any]], *, images: int, clean: int) -> str:
    """The page: of networks trained on ``images`` images, and vetted with ``clean`` ones."""
    lines = [
        "# Networks of other kinds",
        "",
        "Made by `python experiments/other_networks.py --work FOLDER`; all numbers are in `other_networks.json`.",
        f"CIFAR-10, {images:,} training images; a scan and a repair have {clean:,} of the test images, and the others",
        "judge the repair. When the scan was made, no network for these images had been tried, and no residual one.",
        "With averages, checks of 3² and four pixels did not take, and are left out.",
        "",
        "## Found",
        "",
        "*p*: of the most suspicious label. *Pixels*: of the trigger, and of the one that was found for its target.",
        "",
        "| network | trigger | pixels | ASR | found | p | pixels found | twin | its p |",
        "|---|---|---:|---:|---|---:|---:|---|---:|",
    ]
    for one in rows:
        its, twin = one["backdoored"], one["honest"]
        cells = [SHOWN[one["arch"]], one["trigger"], str(one["pixels"]), f"{100 * one['success']:.1f}"]
        cells += [said(its["targets"], one["target"]), f"{its['p_value']:.1g}"]
        cells += [f"{its['labels'][str(one['target'])][0]:.1f}"]
        cells += ["accused" if twin["targets"] else "nothing found", f"{twin['p_value']:.1g}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Repaired",
        "",
        "*Misread*: images of other labels that are taken for the target's without a trigger, which no repair can be",
        "blamed for: what the trigger still does is what ASR has above that. All in %. The options of unlearning were",
        "chosen on the first four networks here, and on others not here",
        "([030](../decisions/030-unlearning-by-distillation.md)).",
        "",
        "| network | trigger | accuracy | repaired | ASR | repaired | misread | repaired | accepted |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in rows:
        if "repaired" not in one["backdoored"]:
            continue
        before, after = one["backdoored"]["works"], one["backdoored"]["repaired"]
        cells = [SHOWN[one["arch"]], one["trigger"]]
        for what in ("accuracy", "success", "misread"):
            cells += [f"{100 * before[what]:.1f}", f"{100 * after[what]:.1f}"]
        lines.append(f"| {' | '.join([*cells, 'yes' if after['accepted'] else 'no'])} |")
    return "\n".join(lines) + "\n"


def said(targets: list[int], target: int) -> str:
    """Whether the target is named, and what else."""
    if target not in targets:
        return "others alone" if targets else "nothing"
    return "the target" if targets == [target] else f"the target and {len(targets) - 1} more"
