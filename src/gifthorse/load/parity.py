"""Whether a network that was rebuilt from a file answers as the file does in its own runtime."""

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier, ModelSpec
from ..errors import ModelFileError, UnsafeFileError
from .interface import Original

TOLERANCE = 1e-4
"""Largest difference of an answer, as a share of the largest answer where that is above 1."""
BATCHES = (1, 2, 5)
"""Numbers of images that are tried, since a graph can have the number it was exported with written into it."""
MOST_SAMPLES = 256
TOGETHER = 8
"""Images that a runtime is given at a time: a closed process has some seconds for each answer."""


def check_random(model: Classifier, original: Original) -> None:
    """Compare answers for random images, several numbers of them together.

    Raises:
        ModelFileError: they differ; says by how much.
        UnsafeFileError: the network changes its weights.
    """
    generator = torch.Generator().manual_seed(0)
    for count in BATCHES:
        images = torch.rand(count, *model.spec.input_shape, generator=generator)
        _compare(model, original, images, f"{count} random image{'s' if count > 1 else ''}")


def check_samples(model: Classifier, original: Original, samples: Samples) -> None:
    """Compare answers for the user's own images.

    Raises:
        ModelFileError: they differ; says by how much, and for which image.
    """
    chosen = samples.images[:MOST_SAMPLES]
    _compare(model, original, chosen.float() / 255, f"{len(chosen)} of the samples")


def network_inputs(images: Tensor, spec: ModelSpec) -> Tensor:
    """``images`` ``(N, C, H, W)`` in [0, 1] as the network of a model with ``spec`` is given them, float32."""
    given: list[Tensor] = []

    class Seen(torch.nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            given.append(inputs)
            return inputs.flatten(1)

    Classifier(Seen(), spec.with_outputs("logits"))(images.float())
    return given[0]


@torch.no_grad()
def _compare(model: Classifier, original: Original, images: Tensor, what: str) -> None:
    inputs = network_inputs(images, model.spec)
    network = model.network
    before = _versions(network)
    differences, largest = [], 1.0
    for part in inputs.split(TOGETHER):
        ours = network(part.to(model.device)).float().cpu()
        if _versions(network) != before:
            raise UnsafeFileError(
                f"{_name(model)}: the network writes into its own weights while it computes, so that what is vetted "
                "would not be what is used; no classifier does"
            )
        theirs = original(part.contiguous()).float()
        if ours.shape != theirs.shape:
            raise ModelFileError(
                f"{_name(model)}: rebuilt here, the network gives {tuple(ours.shape)} for {what}, in its own runtime "
                f"{tuple(theirs.shape)}; it cannot be vetted by gradients, only as a black box"
            )
        differences.append((ours - theirs).abs().amax(1))
        largest = max(largest, float(theirs.abs().max()))
    apart, allowed = torch.cat(differences), TOLERANCE * largest
    worst = int(apart.nan_to_num(torch.inf).argmax())
    if not bool((apart <= allowed).all()):
        raise ModelFileError(
            f"{_name(model)}: rebuilt here, the network parts from its own runtime on {what}: image {worst} by "
            f"{float(apart[worst]):.2g}, where {allowed:.2g} is allowed; it cannot be vetted by gradients, only "
            "as a black box"
        )


def _versions(network: torch.nn.Module) -> list[int]:
    """How often each weight was written into."""
    return [weight._version for weight in network.state_dict(keep_vars=True).values()]


def _name(model: Classifier) -> str:
    return str(model.origin.path) if model.origin else "the model"
