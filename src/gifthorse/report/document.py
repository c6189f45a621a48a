"""The schema of ``report.json``: everything the other formats are made from, with no NaN and no infinity in it."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from ..core.verdict import Outcome
from ..provenance.examined import ExaminedRecord
from ..provenance.record import MOST, Count, Record, Text, about

Rate = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Rate, Rate]
Norm = Annotated[float, Field(ge=0, le=MOST)]
Side = Annotated[int, Field(ge=1, le=2**20)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
Seconds = Annotated[float, Field(ge=0, le=10**9)]  # thirty years
Png = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class Method(Record):
    """A method and its options, enough to make it again."""

    name: Text = about("Registry name of the method.")
    options: dict[str, JsonValue] = about("Its options.")


class Model(Record):
    """A model: the file it came from, and its shape."""

    path: Text | None = about("The model file as it was named; null for a model handed over in memory.")
    format: Text | None = about("Its file format; null without a file.")
    arch: Text | None = about("The architecture as it was named or found; null without a file.")
    sha256: Text | None = about("SHA-256 of the file's bytes, hexadecimal; null without a file.")
    size: Count | None = about("Size of the file in bytes; null without a file.")
    input_shape: tuple[Side, Side, Side] = about("Channels, height and width of the images it takes.")
    num_classes: Count = about("Number of labels.")


class Clean(Record):
    """How many clean samples there were, and from where."""

    count: Count = about("How many clean samples there were.")
    source: Text = about("Where they came from.")


class Detection(Record):
    """How the detector was run."""

    spec: Method = about("The detector and its options.")
    seed: int = about("Seed of the scan.")
    cost: dict[str, JsonValue] = about("What the scan took: image-gradients, seconds and the like.")


class Label(Record):
    """What was measured for one label as the target of a backdoor."""

    label: Count = about("The label.")
    name: Text = about("Its class name, or its number.")
    norm: Norm | None = about("L1 norm of the recovered mask in pixels; null if it could not be computed.")
    flip_rate: Rate | None = about(
        "Share of unseen samples of other labels that the recovered trigger turns to this one; null if there were none."
    )
    flips_of: Count = about("How many samples flip_rate is a share of.")
    flip_rate_interval: Interval = about("95 % Clopper-Pearson interval of flip_rate.")
    score: float | None = about("How suspicious the label is; higher is more.")
    anomaly_index: float | None = about(
        "The Neural Cleanse paper's index, for comparison; it calls above 2 an outlier."
    )
    p_value: Rate | None = about("Of this label alone, corrected for the number of labels.")
    steps: Count = about("Optimisation steps spent on the label.")
    source: Count | None = about(
        "The only label on whose images the trigger was searched for; null if on those of all others."
    )


class TargetRepair(Record):
    """What the repair did to one recovered trigger."""

    label: Count = about("The target label.")
    name: Text = about("Its class name, or its number.")
    flip_rate_before: Rate | None = about("Flip rate of the recovered trigger on the held-out samples, before.")
    flip_rate_before_interval: Interval = about("95 % Clopper-Pearson interval of flip_rate_before.")
    flip_rate_after: Rate | None = about("The same after the repair.")
    flip_rate_after_interval: Interval = about("95 % Clopper-Pearson interval of flip_rate_after.")


class SecondVerdict(Record):
    """What the detector says of the repaired model."""

    outcome: Outcome = about("The answer.")
    p_value: Rate | None = about("Its p-value; null if there is none.")
    targets: tuple[Count, ...] = about("Labels found to be backdoored, most suspicious first.")
    reason: Text = about("One sentence that says why.")


class Repair(Record):
    """The repair, in numbers from before and after it."""

    accepted: bool = about("Whether it kept the accuracy budget and lost the recovered triggers.")
    reason: Text = about("One sentence that says why.")
    spec: Method = about("The repair method and its options.")
    seed: int = about("Seed of the repair.")
    held_out: Count = about("How many held-out clean samples the numbers were measured on.")
    accuracy_before: Rate | None = about("Accuracy on the held-out samples, before.")
    accuracy_before_interval: Interval = about("95 % Clopper-Pearson interval of accuracy_before.")
    accuracy_after: Rate | None = about("Accuracy on the same samples, after.")
    accuracy_after_interval: Interval = about("95 % Clopper-Pearson interval of accuracy_after.")
    targets: tuple[TargetRepair, ...] = about("Flip rates of the recovered triggers before and after.")
    verdict_after: SecondVerdict | None = about("The detector on the repaired model; null if it was not run.")


class RuntimeGuard(Record):
    """The filter that stands in front of the model at run time."""

    reason: Text = about("One sentence on the guard, or on why there is none.")
    spec: Method | None = about("The filter and its options; null if there is no guard.")
    seed: int | None = about("Seed of the calibration; null if there is no guard.")
    facts: dict[str, JsonValue] = about("What calibration found: threshold, samples used and the like.")


class Example(Record):
    """One clean image without and with a recovered trigger; both are base64 PNGs."""

    label: Count = about("The image's own label.")
    name: Text = about("Its class name, or its number.")
    original: Png = about("The clean image.")
    stamped: Png = about("The same image with the recovered trigger.")


class Picture(Record):
    """What the recovered trigger of one label looks like; base64 PNGs."""

    label: Count = about("The target label.")
    mask: Png = about("The mask: white replaces the pixel, black leaves it.")
    trigger: Png = about("The pattern as it shows through the mask, on mid grey.")
    examples: tuple[Example, ...] = about("Clean images of other labels, without and with the trigger.")


class Versions(Record):
    """Versions of the programs that the numbers depend on."""

    gifthorse: Text = about("Version of gifthorse.")
    python: Text = about("Version of Python.")
    torch: Text = about("Version of PyTorch.")
    numpy: Text = about("Version of NumPy.")


class ReportDocument(Record):
    """The record of one run of gifthorse: what was found out about a model, and how."""

    outcome: Outcome = about("The answer. None of the values says that a model is clean.")
    p_value: Rate | None = about(
        "How often a model without a backdoor looks at least this suspicious; null if unknown."
    )
    targets: tuple[Count, ...] = about("Labels found to be backdoored, from the most to the least suspicious.")
    schema_version: Literal[1] = about("Version of this schema.")
    reason: Text = about("One sentence that says why this outcome, and what would help where it is inconclusive.")
    null: Text = about("What the p-value was computed against, in words.")
    model: Model = about("The model that was examined.")
    file: ExaminedRecord | None = about(
        "What the bytes of the model's file are, and whether they are what was stated; null if nobody looked."
    )
    samples: Clean = about("The clean samples.")
    accuracy: Rate | None = about("Accuracy of the model on the clean samples.")
    accuracy_interval: Interval = about("95 % Clopper-Pearson interval of accuracy.")
    detector: Detection = about("The detector and what it took.")
    labels: tuple[Label, ...] = about("The evidence for every label that was searched, most suspicious first.")
    repair: Repair | None = about("The repair; null if there was none.")
    guard: RuntimeGuard = about("The run-time guard.")
    pictures: tuple[Picture, ...] = about("Triggers of the flagged labels; of the most suspicious if none is flagged.")
    versions: Versions = about("The programs that computed it.")
    command: Text | None = about("The command line that started the run; null for a run from Python.")
    started: Moment = about("When the run began.")
    seconds: Seconds = about("How long it took.")
    looked_for: tuple[Text, ...] = about("What the scan looked for, and at which error rate.")
    cannot_see: tuple[Text, ...] = about("What the scan cannot see.")

    @model_validator(mode="after")
    def _holds_evidence(self) -> "ReportDocument":
        shown = {*self.targets, *(picture.label for picture in self.pictures)}
        if missing := sorted(shown - self.by_label.keys()):
            raise ValueError(f"label {missing[0]} is flagged or pictured, but there is no evidence for it")
        if len(self.by_label) < len(self.labels) or len(self.flagged) < len(self.targets):
            raise ValueError("a label is there twice")
        return self

    @cached_property
    def by_label(self) -> dict[int, Label]:
        """The evidence by its label."""
        return {evidence.label: evidence for evidence in self.labels}

    @cached_property
    def flagged(self) -> frozenset[int]:
        """The targets, to look one up in."""
        return frozenset(self.targets)

    def evidence(self, label: int) -> Label:
        """What was measured for ``label``, a flagged or pictured one."""
        return self.by_label[label]


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of ``report.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ReportDocument.model_json_schema(mode="serialization"),
    }
