"""Every error that gifthorse raises itself; anything else that escapes is a bug.

::

    GiftHorseError            exit code 4: the work failed
    ├── OptionError           exit code 2: an option or a path that cannot be meant (also a ValueError)
    ├── ModelFileError        a model file that cannot be read
    │   ├── UnsafeFileError   ... because opening it would run code
    │   └── ArchitectureError ... because its weights do not fit the architecture
    ├── UnsupportedModelError a network that cannot be vetted (NaN weights, no gradient, ...)
    ├── AnswerError           a black box that does not answer, or gives no table of scores
    ├── FetchError            a file that cannot be fetched, or is not the one that was meant
    ├── DataError             samples that cannot be read, or do not fit the model
    ├── GuardFileError        a guard file that cannot be read, or was made for another model
    ├── DivergedError         an optimisation that ended in NaN
    └── RequestError          a request that the service refuses, with an HTTP status

A message says what is wrong, where, the rule, the value, and the way out. "Cannot tell" is not an
error: it is ``Outcome.INCONCLUSIVE``.
"""

from typing import ClassVar


class GiftHorseError(Exception):
    """Base of all errors raised on purpose."""

    exit_code: ClassVar[int] = 4


class OptionError(GiftHorseError, ValueError):
    """An option whose value breaks its rule, or a path that names nothing."""

    exit_code = 2


class ModelFileError(GiftHorseError):
    """A model file is damaged, or of a format that is not read here."""


class UnsafeFileError(ModelFileError):
    """A model file would run code when it is opened, so it was not opened."""


class ArchitectureError(ModelFileError):
    """The weights in a file do not fit the architecture they were to be loaded into."""


class UnsupportedModelError(GiftHorseError):
    """A network was loaded, but no method here can work on it."""


class AnswerError(GiftHorseError):
    """A black box does not answer, or its answers are no table of finite scores."""


class FetchError(GiftHorseError):
    """A file or a folder cannot be fetched, or what came is not what was meant."""


class DataError(GiftHorseError):
    """Samples cannot be read, or break a rule: size, channels, labels, empty classes."""


class GuardFileError(GiftHorseError):
    """A guard file is damaged, or belongs to another model."""


class DivergedError(GiftHorseError):
    """An optimisation ended in NaN or infinity."""


class RequestError(GiftHorseError):
    """The service refuses a request, and goes on.

    Args:
        message: what is wrong, the rule, the value and the way out.
        status: of HTTP; 503 where the same request may do later.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
