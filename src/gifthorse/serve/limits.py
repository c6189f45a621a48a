"""What the service takes on, and what it refuses."""

import math
from dataclasses import dataclass, fields
from typing import Final, final

from ..errors import OptionError

RETRY_AFTER: Final = 1  # seconds that a client is asked to wait when the service has too much to do
MEBI: Final = 1 << 20


@final
@dataclass(frozen=True)
class Limits:
    """How much the service holds at once; what is above is refused, and what was taken is answered.

    Attributes:
        body_bytes: of one request.
        json_bytes: of the JSON part of one request, which takes many times its size once it is read.
        images: in one request.
        batch: images that are put together from several requests; one request may bring more by itself.
        queue: images that wait for the model, besides those that it works on.
        requests: infer requests that are read, wait or are worked on at once.
        connections: that are open at once.
        seconds: from the first byte of a request to its answer, and for a connection on which nothing is asked.

    Raises:
        OptionError: a value that breaks its rule.
    """

    body_bytes: int = 16 * MEBI
    json_bytes: int = 4 * MEBI
    images: int = 256
    batch: int = 32
    queue: int = 1024
    requests: int = 128
    connections: int = 512
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not value >= 1:
                raise OptionError(f"{field.name} must be at least 1, got {value}")
        if not 0 < self.seconds < math.inf:
            raise OptionError(f"seconds must be above 0 and finite, got {self.seconds}")
        if self.queue < self.images:
            raise OptionError(
                f"queue must have room for one request of {self.images} images, got {self.queue}; allow more to wait, "
                "or fewer images in a request"
            )
