"""A data set of the Hugging Face hub, by its name ``owner/name``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.data import Samples
from ..errors import DataError, OptionError
from .images import Size
from .parquet import AUDIO_COLUMNS, choose_columns, decoder_of


def load_hub(name: str, *, split: str = "test", size: Size | None = None) -> Samples:
    """The split ``split`` of a data set, fetched by the ``datasets`` library and kept in its cache.

    Raises:
        OptionError: ``datasets`` is not installed.
        DataError: the hub is not reached, has no such data set or split, or its columns are others.
    """
    nothing = f"{name}: there is no such file or folder, so it was taken for a data set of the Hugging Face hub"
    try:
        import datasets  # noqa: PLC0415 - an extra
    except ImportError as cause:
        raise OptionError(
            f"{nothing}, which needs the datasets library: pip install 'gifthorse[data]'; if you meant a path, check it"
        ) from cause
    try:
        # Said aloud, since old versions would ask: code that comes with a data set is never run.
        rows = datasets.load_dataset(name, split=split, trust_remote_code=False)
    except Exception as cause:  # requests, httpx, huggingface_hub and datasets each raise errors of their own
        raise DataError(
            f"{nothing}, and its split {split!r} could not be loaded ({type(cause).__name__}: {cause}); this needs the "
            "network, or a copy in the cache, and the extra gifthorse[data]. If you meant a path, check it"
        ) from cause
    sample, label = choose_columns(rows.column_names, source=name)
    labels = list(rows[label])
    if not all(isinstance(value, int) for value in labels):
        raise DataError(f"{name}: column {label} must hold whole numbers, one per row; number the classes from 0")
    kind = datasets.Audio if sample in AUDIO_COLUMNS else datasets.Image
    encoded = _encoded(rows.cast_column(sample, kind(decode=False))[sample], name)
    images = decoder_of(sample)(encoded, source=name, size=size)
    names = tuple(getattr(rows.features[label], "names", None) or ())
    return Samples(images, torch.tensor(labels, dtype=torch.int64), names, f"{name} ({split})")


def _encoded(column: Any, name: str) -> Iterator[tuple[str, bytes]]:  # noqa: ANN401 - a column of an untyped library
    for row, value in enumerate(column):
        cell: Mapping[str, Any] = value or {}
        where = f"{name}: row {row}"
        if cell.get("bytes"):
            yield where, cell["bytes"]
        elif cell.get("path"):
            try:
                yield where, Path(cell["path"]).read_bytes()
            except OSError as cause:
                raise DataError(f"{where}: {cell['path']} cannot be read ({cause.strerror}); fetch it again") from cause
        else:
            raise DataError(f"{where}: there is no image or sound; leave the row out")
