import pytest
import torch

from gifthorse.core.seeds import seeded


def test_draws_from_its_seed_and_leaves_the_global_state():
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        again = torch.rand(4)
    with seeded(4):
        other = torch.rand(4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_leaves_the_global_state_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        {}[torch.rand(4)]
    assert torch.equal(torch.get_rng_state(), before)
