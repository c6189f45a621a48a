"""How small a trigger each label could do with, to first order: all labels from one set of feature Jacobians.

Where the last layer is dense, the gradient of a label's logit is a weighted sum of the gradients of what this layer is
given, so that the Jacobians of 160 features give the gradients of 1,283 labels by one matrix product.
"""

import torch
from torch import Tensor, nn

from ..activations import features, layer_of, weighted_layers
from ..core.model import Classifier
from .precision import images_per_pass

MOST_FLOATS = 100_000_000  # in the Jacobian of one image
LABELS_AT_ONCE = 64


def first_order_norms(model: Classifier, images: Tensor) -> tuple[Tensor, int] | None:
    """The L1 norm, in pixels, of the mask that would flip ``images`` to each label if the network were linear there.

    A shared pattern gains most at 0 or 1 in each channel. Pixels are taken in the order of what they gain, until the
    mean margin between an image's own answer and the label is made up for.

    Args:
        model: frozen; its last layer must be dense.
        images: ``(N, C, H, W)`` in [0, 1].

    Returns:
        ``(K,)`` norms on the CPU, more than the image's pixels where even all of them do not suffice, infinite where
        nothing helps; and the image-gradients spent. None where the last layer is not dense, or the Jacobian too
        large to be kept.
    """
    head = weighted_layers(model)[-1]
    layer = layer_of(model, head)
    if not isinstance(layer, nn.Linear) or layer.in_features * images[0].numel() > MOST_FLOATS:
        return None
    weight = layer.weight.float()
    images = images.to(model.device, model.dtype)
    with features(model, head) as given, torch.no_grad():
        logits = model(images).float()
    offset = layer.bias.float() if layer.bias is not None else 0.0
    if not torch.allclose(given[0].float() @ weight.T + offset, logits, rtol=0.05, atol=0.05 * float(logits.std())):
        return None
    own = logits.argmax(1)
    spent, labels = 0, model.spec.num_classes
    rises = torch.zeros(labels, *images.shape[1:], device=model.device)  # summed gradients, and
    levels = torch.zeros_like(rises)  # gradients times pixels, over the images that are of another label
    lacking, counts = torch.zeros(labels, device=model.device), torch.zeros(labels, device=model.device)
    for image, logit, answer in zip(images, logits, own, strict=True):
        jacobian = _jacobian(model, head, image, layer.in_features)
        spent += len(jacobian)
        counted = (torch.arange(labels, device=model.device) != answer).float()
        for part in torch.arange(labels, device=model.device).split(LABELS_AT_ONCE):
            slope = ((weight[part] - weight[answer]) @ jacobian.flatten(1)).view(-1, *image.shape)
            slope *= counted[part].view(-1, 1, 1, 1)
            rises[part] += slope
            levels[part] += slope * image.float()
        lacking += counted * (logit[answer] - logit)
        counts += counted
    gains = torch.maximum(rises - levels, -levels).clamp_min(0).sum(1).flatten(1)  # (K, H·W)
    reached = gains.sort(1, descending=True).values.cumsum(1)
    norms = (reached < lacking[:, None]).sum(1).double() + 1
    short = reached[:, -1] < lacking
    norms[short] = gains.shape[1] * (lacking / reached[:, -1])[short].double()
    norms[counts == 0] = torch.inf
    return norms.cpu(), spent


def _jacobian(model: Classifier, head: str, image: Tensor, count: int) -> Tensor:
    """Gradients ``(count, C, H, W)`` of what the layer ``head`` is given to one image."""
    rows = []
    for part in torch.arange(count, device=model.device).split(images_per_pass(model)):
        inputs = image.expand(len(part), -1, -1, -1).contiguous(memory_format=torch.channels_last).requires_grad_()
        with features(model, head) as given:
            model(inputs)
        picked = given[0].float().gather(1, part[:, None]).sum()
        rows.append(torch.autograd.grad(picked, inputs)[0].float())
    return torch.cat(rows)
