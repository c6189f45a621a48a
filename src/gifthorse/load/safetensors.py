"""safetensors: a header in JSON and raw numbers; nothing in it can run."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ModelFileError
from ..provenance.tensor_head import unlike
from .interface import Format, head, reading

MOST_HEADER_BYTES = 100_000_000  # the limit of the format


@final
class SafeTensors(Format):
    """Files that safetensors has written, and those of the Hugging Face hub."""

    name = "safetensors"
    suffixes = (".safetensors",)

    def recognise(self, path: Path) -> bool:
        """By the length of the header and the brace that it begins with."""
        start = head(path, 9)
        return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MOST_HEADER_BYTES

    def read(self, path: Path) -> dict[str, Tensor]:
        """Every tensor in the file."""
        with reading(path, "safetensors file"), safe_open(path, framework="pt") as file:
            if wrong := unlike(path):
                raise ModelFileError(f"{path}: {wrong}; save it again with the safetensors library")
            return {name: file.get_tensor(name) for name in file.offset_keys()}

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Keeps the template's metadata."""
        metadata = {"format": "pt"}
        old: dict[str, Tensor] = {}
        if template is not None:
            with safe_open(template, framework="pt") as file:
                metadata = file.metadata()
                old = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        tensors = {name: weight.to(old.get(name, weight).dtype) for name, weight in weights.items()}
        # Tensors that share memory are refused by safetensors.
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, metadata)
