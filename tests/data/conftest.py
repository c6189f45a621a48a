"""Files to load: written by each test, or the real data beside the repository where it is there."""

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared" / "data"

Write = Callable[..., Path]


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared test data is not on this machine")
    return SHARED


@pytest.fixture
def write_image(tmp_path: Path) -> Write:
    """Writes ``tmp_path/NAME`` with pixels that differ from name to name."""

    def write(name: str, *, mode: str = "RGB", size: tuple[int, int] = (6, 5), **options) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(list(name.encode()))
        pixels = generator.integers(0, 256, (size[0], size[1], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, **options)
        return path

    return write


@pytest.fixture
def png() -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()

    return encode


@pytest.fixture
def wav_bytes() -> Callable[[float], bytes]:
    """A tenth of a second of a tone of that frequency."""

    def encode(frequency: float) -> bytes:
        stream = io.BytesIO()
        with wave.open(stream, "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((8000 * np.sin(np.arange(800) * frequency * 2 * np.pi / 8000)).astype("<i2").tobytes())
        return stream.getvalue()

    return encode
