import pytest

from gifthorse.attacks.badnets import BadNets
from gifthorse.core.attack import Backdoor


@pytest.fixture(scope="session")
def toy_badnets(toy_backdoor: Backdoor) -> BadNets:
    """The attack that made ``toy_backdoor``, for attacks that build on it."""
    return toy_backdoor.spec.build({BadNets.name: BadNets})
