"""What a layer's options in a Keras configuration may be: plain values, each checked, and nothing that is not known."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import ModelFileError, UnsupportedModelError

Check = Callable[[Any], Any]
Options = Mapping[str, Any]

LARGEST = 2**20
"""Of a size, such as a number of filters; what a file can ask for is held against the file's own size later."""

IGNORED: Final = frozenset(
    """
    name trainable dtype batch_input_shape batch_shape batch_size input_shape input_dtype seed momentum rate noise_shape
    fused synchronized autocast build_config kernel_initializer bias_initializer depthwise_initializer
    pointwise_initializer beta_initializer gamma_initializer moving_mean_initializer moving_variance_initializer
    alpha_initializer kernel_regularizer bias_regularizer depthwise_regularizer pointwise_regularizer
    activity_regularizer beta_regularizer gamma_regularizer alpha_regularizer kernel_constraint bias_constraint
    depthwise_constraint pointwise_constraint beta_constraint gamma_constraint alpha_constraint dropout lora_alpha
    renorm_clipping renorm_momentum mask_zero input_dim input_length flash_attention stddev l1 l2
    fill_mode fill_value drop_path_rate
    """.split()  # noqa: SIM905 - as a list, forty lines
)
"""What has no part in an answer. None of it is looked into, and none of it is ever handed to Keras."""
OFF: Final = frozenset(
    """
    renorm lora_rank virtual_batch_size quantization_config sparse ragged optional rms_scaling use_gate sliding_window
    adjustment supports_masking antialias crop_to_aspect_ratio pad_to_aspect_ratio
    """.split()  # noqa: SIM905
)
"""What must not be set."""


def checked_options(found: Any, known: Mapping[str, tuple[Check, Any]], where: str) -> dict[str, Any]:  # noqa: ANN401
    """The options of a layer, with defaults for those that are not there.

    Args:
        found: ``config`` of the layer, from JSON.
        known: a check and a default for each option that counts; ``...`` where there is no default.
        where: the layer, for messages.

    Raises:
        ModelFileError: an option is not what its layer can have.
        UnsupportedModelError: an option that is not known here is set.
    """
    if not isinstance(found, dict):
        raise ModelFileError(f"{where}: its configuration is no dictionary")
    for name, value in found.items():
        if name in known or name in IGNORED or (name in OFF and not value):
            continue
        raise UnsupportedModelError(f"{where}: the option {name} is {str(value)[:80]!r}, which is not read here")
    _check_dtype(found.get("dtype"), where)
    options = {}
    for name, (check, default) in known.items():
        value = found.get(name, default)
        if value is ...:
            raise ModelFileError(f"{where}: the option {name} is missing")
        try:
            options[name] = check(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise ModelFileError(f"{where}: the option {name} is {str(value)[:80]!r}, {error}") from error
    return options


def _check_dtype(value: Any, where: str) -> None:  # noqa: ANN401
    """Number formats have no part in the answer, as all is computed in float32; quantised layers do."""
    name = value.get("class_name") if isinstance(value, dict) else "DTypePolicy"
    if name not in ("DTypePolicy", "Policy", "FloatDTypePolicy"):
        raise UnsupportedModelError(
            f"{where}: the dtype is {str(value)[:80]!r}; only floating-point layers are read here"
        )


def size(value: Any) -> int:  # noqa: ANN401
    """A whole number of 1 or more."""
    if type(value) is not int or not 1 <= value <= LARGEST:
        raise ValueError(f"not a whole number from 1 to {LARGEST:,}")
    return value


def groups(value: Any) -> int:  # noqa: ANN401
    """A number of groups; -1 for one of each channel."""
    return -1 if type(value) is int and value == -1 else size(value)


def pair(value: Any) -> tuple[int, int]:  # noqa: ANN401
    """One size for both directions, or one for each: height and width."""
    values = [value, value] if type(value) is int else value
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError("not one whole number, or two")
    return size(values[0]), size(values[1])


def margins(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:  # noqa: ANN401
    """What is added or cut: above and below, left and right."""
    values = [value, value] if type(value) is int else value
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError("not one whole number, two, or two pairs")
    pairs = [[one, one] if type(one) is int else one for one in values]
    for one in pairs:
        if not isinstance(one, list | tuple) or len(one) != 2:
            raise ValueError("not one whole number, two, or two pairs")
        if any(type(part) is not int or not 0 <= part <= LARGEST for part in one):
            raise ValueError(f"not whole numbers from 0 to {LARGEST:,}")
    return (pairs[0][0], pairs[0][1]), (pairs[1][0], pairs[1][1])


def shape(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    """Sizes, of which one may be -1: the rest."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 6:
        raise ValueError("not a list of 1 to 6 sizes")
    return tuple(-1 if type(one) is int and one == -1 else size(one) for one in value)


def order(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    """The numbers from 1 on, in some order."""
    if not isinstance(value, list | tuple) or sorted(value) != list(range(1, len(value) + 1)):
        raise ValueError("not the numbers from 1 on, in some order")
    return tuple(value)


def number(value: Any) -> float:  # noqa: ANN401
    """A finite number; Keras 2 has some as arrays of one."""
    if isinstance(value, dict) and value.get("type") == "ndarray":
        value = value.get("value")
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def numbers(value: Any) -> float | tuple[float, ...]:  # noqa: ANN401
    """A number, or one for each channel."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return tuple(number(one) for one in value) if isinstance(value, list) else number(value)


def flag(value: Any) -> bool:  # noqa: ANN401
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def axis(value: Any) -> int:  # noqa: ANN401
    """A dimension; Keras 2 has some as lists of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if type(value) is not int or not -5 <= value <= 5:
        raise ValueError("not a single dimension")
    return value


def axes(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    """One dimension, or several."""
    values = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(values) <= 5:
        raise ValueError("not one to five dimensions")
    return tuple(axis(one) for one in values)


def text(value: Any) -> str:  # noqa: ANN401
    """A name, such as one of an activation."""
    if isinstance(value, dict) and isinstance(value.get("config"), str):  # Keras 3, of a function
        if str(value.get("module") or "builtins").partition(".")[0] not in ("builtins", "keras"):
            raise ValueError("of a module that is not part of Keras")
        if ">" in str(value.get("registered_name")):
            raise ValueError("registered by its maker")
        value = value["config"]
    if value is None:
        return "linear"
    if not isinstance(value, str):
        raise ValueError("not a name")
    return value


def one_of(*choices: Any) -> Check:  # noqa: ANN401
    """One of these values."""

    def check(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            value = tuple(value)
        if value not in choices:
            raise ValueError(f"none of {', '.join(map(str, choices))}")
        return value

    return check


def optional(check: Check) -> Check:
    """None, or what ``check`` takes."""
    return lambda value: None if value is None else check(value)
