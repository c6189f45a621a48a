"""Models of which only answers are to be had: any function, an ONNX file in its own runtime, a service over HTTP.

What follows gradients, or looks at layers or weights, cannot be done with them; what needs answers alone can.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from ..core.model import Classifier, ModelSpec, Origin
from ..errors import AnswerError, OptionError, UnsupportedModelError
from ..provenance.hashes import sha256
from .probe import IMAGES, looks_like_probabilities
from .spec_file import checked, merged, read_spec

Answering = Callable[[Tensor], Any]
"""Inputs ``(N, …)``, float32 on the CPU, laid out and scaled as the spec says, to scores ``(N, K)`` as a tensor, an
array or nested lists: logits or probabilities."""

IMAGES_AT_ONCE = 64
SHOWN = "a black box"


@final
class BlackBox(nn.Module):
    """A network that is asked for its answers, and shows nothing else.

    It has no parameters. Its state dict holds ``identity`` alone, so that a guard that was calibrated for it is refused
    in front of another one.

    Args:
        answering: gives the answers; the same for the same images.
        name: in messages and reports: an address, a file, the name of a function.
        identity: of what stands behind it; hashed.
        most: images that it is asked about at once.
    """

    differentiable: ClassVar[bool] = False
    """What ``gifthorse.vet`` looks at before it chooses what can be done."""

    def __init__(self, answering: Answering, name: str, *, identity: str, most: int = IMAGES_AT_ONCE) -> None:
        super().__init__()
        self.name = name
        self._answering, self._most = answering, most
        digest = hashlib.sha256(identity.encode()).digest()
        self.register_buffer("identity", torch.tensor(list(digest), dtype=torch.uint8))

    def __deepcopy__(self, memo: dict[int, Any]) -> "BlackBox":
        """Asks the same: a session or a connection cannot be copied."""
        twin = copy.copy(self)
        twin._buffers = copy.deepcopy(self._buffers, memo)
        return twin

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores ``(N, K)`` as float32, on the device of ``inputs``.

        Raises:
            UnsupportedModelError: somebody wants to follow gradients through it.
            AnswerError: the answers are no table of finite scores, or none came.
        """
        if torch.is_grad_enabled() and inputs.requires_grad:
            raise UnsupportedModelError(
                f"{self.name} gives answers, and no gradients; what follows gradients needs the model file itself"
            )
        asked = inputs.detach().float().cpu().contiguous()
        parts = [self._table(self._answering(part), len(part)) for part in asked.split(self._most)]
        if len({part.shape[1] for part in parts}) > 1:
            raise AnswerError(f"{self.name} gives other numbers of scores for other images; it must give one per label")
        return torch.cat(parts).to(inputs.device)

    def _table(self, answers: object, count: int) -> Tensor:
        """Answers of any kind as ``(count, K)`` finite floats."""
        try:
            table = answers if isinstance(answers, Tensor) else torch.from_numpy(np.array(answers))
        except (TypeError, ValueError) as error:
            raise AnswerError(
                f"{self.name} gives a {type(answers).__name__} that is no table of numbers; it must give (N, K) scores"
            ) from error
        if table.shape == (count,):
            raise AnswerError(
                f"{self.name} gives one number per image, such as its label; scores are needed, (N, K) logits or "
                "probabilities: a label alone does not say how sure the model is, which is what filters look at"
            )
        if table.ndim != 2 or len(table) != count or table.shape[1] < 2 or not table.is_floating_point():
            raise AnswerError(
                f"{self.name} gives {tuple(table.shape)} {table.dtype} for {count} images; it must give (N, K) "
                "floating-point numbers, a score for each of two or more labels"
            )
        table = table.detach().float().cpu()
        if bad := int((~table.isfinite()).sum()):
            raise AnswerError(
                f"{self.name} gives {bad} NaN or infinite scores of {table.numel()}; such answers cannot be relied on. "
                "Check pixel_range, mean and std"
            )
        return table


def black_box(
    answering: Answering,
    *,
    input_shape: tuple[int, int, int],
    name: str | None = None,
    most: int = IMAGES_AT_ONCE,
    **options: Any,  # noqa: ANN401 - the fields of ModelSpec, checked by SpecOptions
) -> Classifier:
    """A classifier that asks ``answering``, of which nothing is known but its answers.

    ``gifthorse.vet`` calibrates and writes a guard for it; whether it has a backdoor cannot be told without gradients,
    and is ``INCONCLUSIVE``, with that reason.

    Args:
        answering: images ``(N, C, H, W)``, float32 on the CPU, in the range and layout that ``options`` say (else RGB
            in [0, 1]), to scores ``(N, K)``: a tensor, an array or nested lists, logits or probabilities. Labels alone
            will not do.
        input_shape: ``(C, H, W)``.
        name: in messages and reports, and what a guard knows the model by: a guard goes with another model of the same
            name and spec. The function's own name, if left out.
        most: images that it is asked about at once.
        options: fields of ``ModelSpec``; ``num_classes`` and ``outputs`` are found out by asking if left out.

    Raises:
        OptionError: an unknown option, or what is stated is not so.
        AnswerError: the answers are no table of finite scores.

    Example:
        >>> import torch
        >>> model = black_box(lambda images: images.flatten(1)[:, :3], input_shape=(1, 4, 4), name="three pixels")
        >>> model.spec.num_classes, model.predict(torch.zeros(2, 1, 4, 4)).shape
        (3, torch.Size([2, 3]))
    """
    if most < 1:
        raise OptionError(f"most must be at least 1, got {most}")
    kind = f"{getattr(answering, '__module__', '')}.{getattr(answering, '__qualname__', type(answering).__name__)}"
    name = kind.strip(".") if name is None else name
    stated = checked({"input_shape": input_shape, **options}, where="options").stated()
    network = BlackBox(answering, name, identity=f"function {name}", most=most)
    return asked(network, stated, None)


def onnx_black_box(
    path: Path,
    *,
    fallback_input_shape: tuple[int, int, int] | None = None,
    **options: Any,  # noqa: ANN401 - as for load_model
) -> Classifier:
    """An ONNX file that ONNX Runtime answers for; a guard knows it by its bytes.

    Raises:
        OptionError: no such file, ONNX Runtime is missing, or the input shape is not known.
        ModelFileError: ONNX Runtime does not open the file.
        UnsupportedModelError: its inputs or outputs are not those of a classifier of images.
    """
    from .onnx_session import session  # noqa: PLC0415 - an extra

    if not path.is_file():
        raise OptionError(f"there is no file {path}; --black-box takes an ONNX file, or the address of a service")
    digest = sha256(path)
    runtime = session(path)
    beside = merged(checked(options, where="options"), read_spec(path)).stated()
    stated = _with_shape({**runtime.stated, **beside}, fallback_input_shape, str(path))
    network = BlackBox(runtime.answers, str(path), identity=f"onnx {digest}", most=runtime.most)
    return asked(network, stated, Origin(path, "onnx", SHOWN, digest, path.stat().st_size))


def endpoint_black_box(
    address: str,
    *,
    fallback_input_shape: tuple[int, int, int] | None = None,
    **options: Any,  # noqa: ANN401 - as for load_model
) -> Classifier:
    """A service that speaks the Open Inference Protocol v2; a guard knows it by its address and versions.

    Args:
        address: ``http://HOST:PORT/v2/models/NAME``, with ``/versions/VERSION`` where there are several.
        fallback_input_shape: ``(C, H, W)`` where the service does not tell.
        options: fields of ``ModelSpec``.

    Raises:
        OptionError: it is no such address, or the input shape is not known.
        AnswerError: the service does not answer, or not as the protocol says.
        UnsupportedModelError: its inputs or outputs are not those of a classifier of images.
    """
    from .endpoint import Endpoint  # noqa: PLC0415 - seldom needed

    service = Endpoint(address)
    said = checked(options, where="options").stated()
    stated = _with_shape({**service.stated, **said}, fallback_input_shape, address)
    network = BlackBox(service.answers, service.address, identity=service.identity, most=service.most(stated))
    return asked(network, stated, None)


def asked(network: BlackBox, stated: Mapping[str, Any], origin: Origin | None) -> Classifier:
    """The classifier, with what a few answers tell put into its spec.

    Raises:
        OptionError: what is ``stated`` is not so.
        AnswerError: the answers are no table of finite scores.
    """
    spec = ModelSpec(**{"num_classes": 2, **stated, "outputs": "logits"})
    images = torch.rand(IMAGES, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    answers = Classifier(network, spec).predict(images)
    classes = answers.shape[1]
    if stated.get("num_classes", classes) != classes:
        raise OptionError(
            f"{network.name} gives {classes} scores per image, num_classes says {stated['num_classes']}; correct it"
        )
    probabilities = looks_like_probabilities(answers)
    if stated.get("outputs") == "probabilities" and not probabilities:
        raise OptionError(
            f"{network.name}: outputs are stated to be probabilities, but do not sum to 1; state logits, or leave "
            "outputs out"
        )
    said = stated.get("outputs", "probabilities" if probabilities else "logits")
    return Classifier(network, replace(spec, num_classes=classes, outputs=said), origin)


def _with_shape(stated: dict[str, Any], fallback: tuple[int, int, int] | None, where: str) -> dict[str, Any]:
    size = stated.get("input_shape", fallback)
    if size is None:
        raise OptionError(f"{where} does not say what its input shape is; give input_shape, such as 3,32,32")
    return checked({**stated, "input_shape": size}, where=where).stated()  # an image of a tera would be made
