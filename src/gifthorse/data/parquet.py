"""Parquet files as Hugging Face writes them: encoded images or sound, labels, and class names in the schema."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.data import Samples
from ..errors import DataError, OptionError
from .audio import decode_sounds
from .images import Size, check_growth, decode_all

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img")
AUDIO_COLUMNS = ("audio",)
LABEL_COLUMNS = ("label", "labels")
BESIDE = 2**12  # bytes that a row takes beside its values


def load_parquet(path: Path, *, split: str = "test", size: Size | None = None) -> Samples:
    """All rows of a file, or of the file ``{split}.parquet`` in a folder.

    Raises:
        OptionError: the folder has no such file, or pyarrow is not installed.
        DataError: the file is damaged, its columns are others, an image or a recording cannot be read, or it takes far
            more than is stored.
    """
    file = _split_in(path, split) if path.is_dir() else path
    table, sample, label = _read(file)
    labels = _labels(table.column(label), f"{file}: column {label}")
    encoded = ((f"{file}: row {row}", data) for row, data in enumerate(_encoded(table.column(sample), file, sample)))
    images = decoder_of(sample)(encoded, source=str(file), size=size)
    return Samples(images, labels, _class_names(table.schema.metadata, label), str(file))


def choose_columns(names: Sequence[str], *, source: str) -> tuple[str, str]:
    """The column of images, or else of sound, and that of labels among ``names``.

    Raises:
        DataError: one is missing, or there twice.
    """
    samples = [name for name in (*IMAGE_COLUMNS, *AUDIO_COLUMNS) if names.count(name) == 1]
    labels = [name for name in LABEL_COLUMNS if names.count(name) == 1]
    if not samples or not labels:
        raise DataError(
            f"{source}: needs a column of images ({' or '.join(IMAGE_COLUMNS)}) or of sound "
            f"({' or '.join(AUDIO_COLUMNS)}), and one of labels ({' or '.join(LABEL_COLUMNS)}), but has "
            f"{', '.join(names) or 'none'}; rename the columns"
        )
    return samples[0], labels[0]


def decoder_of(column: str) -> Callable[..., Tensor]:
    """What makes images ``(N, C, H, W)`` of what is in that column."""
    return decode_sounds if column in AUDIO_COLUMNS else decode_all


def _split_in(folder: Path, split: str) -> Path:
    if not (folder / f"{split}.parquet").is_file():
        found = ", ".join(sorted(file.stem for file in folder.glob("*.parquet"))) or "none"
        raise OptionError(f"{folder}: there is no {split}.parquet; splits in this folder: {found}")
    return folder / f"{split}.parquet"


def _read(file: Path) -> tuple["pa.Table", str, str]:
    """The columns of samples and of labels, and their names."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as cause:
        raise OptionError(f"{file}: reading parquet needs pyarrow; pip install 'gifthorse[data]'") from cause
    try:
        with pq.ParquetFile(file) as parquet:
            str(parquet.schema_arrow)  # decodes every name, nested ones too: a damaged one is found here
            sample, label = choose_columns(parquet.schema_arrow.names, source=str(file))
            batches, taken = [], 0
            # One by one: a value that many rows share is there once, and what the file says of sizes may be false.
            for batch in parquet.iter_batches(1, columns=[sample, label]):
                taken += batch.nbytes + BESIDE
                check_growth(taken, file.stat().st_size, str(file))
                batches.append(batch)
            schema = parquet.schema_arrow
            kept = pa.schema([schema.field(sample), schema.field(label)], schema.metadata)
            return pa.Table.from_batches([batch.select([sample, label]) for batch in batches], kept), sample, label
    except (pa.ArrowException, OSError, UnicodeDecodeError) as cause:
        raise DataError(f"{file}: cannot be read as parquet ({cause}); is the file complete? Fetch it again") from cause


def _labels(column: "pa.ChunkedArray", where: str) -> torch.Tensor:
    if not str(column.type).startswith(("int", "uint")):
        raise DataError(f"{where} must hold whole numbers, but is {column.type}; number the classes from 0")
    if column.null_count:
        raise DataError(f"{where} is empty in {column.null_count} rows; every image needs a label")
    values = column.to_pylist()
    if values and max(values) >= 2**63:
        raise DataError(f"{where} must hold labels, but one is {max(values)}; number the classes from 0")
    return torch.tensor(values, dtype=torch.int64)


def _encoded(column: "pa.ChunkedArray", file: Path, name: str) -> Iterator[bytes]:
    if not (str(column.type).startswith("struct") and column.type.get_field_index("bytes") >= 0):
        raise DataError(
            f"{file}: column {name} must be a struct {{bytes, path}} of encoded images or sound, but is {column.type}; "
            "write it with the datasets library's Image or Audio feature"
        )
    kind = "sound" if name in AUDIO_COLUMNS else "image"
    for row, value in enumerate(cell for chunk in column.chunks for cell in chunk.field("bytes").to_pylist()):
        if value is None:
            raise DataError(f"{file}: row {row}: there are no {kind} bytes; embed them in the file")
        yield value


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    """Names only decorate, so that none are taken where the schema does not have them as Hugging Face writes them."""
    try:
        names: Any = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
