"""What a user says of a model, in options or in a TOML file beside it: ``model.pth`` has ``model.pth.toml``."""

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..core.model import ChannelOrder, Layout, ModelSpec, Outputs
from ..errors import OptionError
from ..files import whole_file

MOST_BYTES = 2**14  # long keys take the square of their length
MOST_DEEP = 100  # tables and lists in one another; what reads them calls itself for each
MOST_NUMBERS = 2**24  # 3×2048×2048 is less
MOST_CLASSES = 2**20
SHOWN = 200  # characters of what is wrong


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, int | float) else value


def _is_of_images(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if math.prod(max(side, 1) for side in shape) > MOST_NUMBERS:
        raise ValueError(f"an image has at most {MOST_NUMBERS:,} numbers")
    return shape


Shape = Annotated[tuple[int, int, int], AfterValidator(_is_of_images)]
Channels = Annotated[tuple[float, ...] | None, BeforeValidator(_as_tuple)]


@final
class SpecOptions(BaseModel):
    """What was stated; None is not stated. The fields are those of ``ModelSpec``, and the architecture."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    arch: str | None = None
    input_shape: Shape | None = None
    num_classes: Annotated[int, Field(le=MOST_CLASSES)] | None = None
    pixel_range: tuple[float, float] | None = None
    mean: Channels = None
    std: Channels = None
    channel_order: ChannelOrder | None = None
    layout: Layout | None = None
    outputs: Outputs | None = None

    def stated(self) -> dict[str, Any]:
        """The fields of ``ModelSpec`` that are stated."""
        return self.model_dump(exclude_none=True, exclude={"arch"})


def checked(values: Mapping[str, object], *, where: str) -> SpecOptions:
    """The options, checked.

    Raises:
        OptionError: an unknown name, or a value of the wrong kind.
    """
    try:
        return SpecOptions.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = ", ".join(SpecOptions.model_fields)
        if first["type"] == "extra_forbidden":
            raise OptionError(f"{where}: there is no {name!r}; choose from {known}") from error
        raise OptionError(f"{where}: {name} is {repr(first['input'])[:SHOWN]}: {first['msg']}") from error


def read_toml(path: Path, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """What is in a TOML file of at most so many bytes.

    Raises:
        OptionError: it is larger, no TOML, or nested too deeply.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        values = tomllib.loads(content.decode("utf-8")) if len(content) <= most else None
    except (ValueError, OSError, RecursionError) as error:
        raise OptionError(f"{path} cannot be read as TOML: {error}; correct it") from error
    if values is None:
        raise OptionError(f"{path} has more than {most:,} bytes, which are not read; correct it")
    level: list[Any] = [values]
    for _ in range(MOST_DEEP):
        inside = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in inside if isinstance(part, dict | list)]
    if level:
        raise OptionError(f"{path} has tables in one another more than {MOST_DEEP} times; correct it")
    return values


def spec_path(model_path: Path) -> Path:
    """Where the TOML of a model file is."""
    return model_path.with_name(f"{model_path.name}.toml")


def read_spec(model_path: Path) -> SpecOptions:
    """What the TOML beside a model says; nothing, if there is none.

    Raises:
        OptionError: it is no TOML, or breaks a rule.
    """
    path = spec_path(model_path)
    if not path.is_file():
        return SpecOptions()
    return checked(read_toml(path), where=str(path))


def write_spec(model_path: Path, spec: ModelSpec, arch: str | None) -> None:
    """Write the TOML beside a model file, with every field."""
    values: dict[str, Any] = {} if arch is None else {"arch": arch}
    values |= {name: getattr(spec, name) for name in SpecOptions.model_fields if name != "arch"}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]  # TOML, for strings and numbers
    with whole_file(spec_path(model_path)) as temporary:
        temporary.write_text("# What gifthorse knows of the model beside this file.\n" + "".join(lines), "utf-8")


def merged(options: SpecOptions, file: SpecOptions) -> SpecOptions:
    """What ``options`` say, and where they do not, what ``file`` says."""
    return file.model_copy(update=options.model_dump(exclude_none=True))
