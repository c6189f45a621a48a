"""TorchScript and torch.export archives: the same answers and gradients as the network that they were made from."""

import copy
import dataclasses
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gifthorse.activations import weighted_layers
from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.core.attack import Backdoor
from gifthorse.core.data import Samples
from gifthorse.errors import ModelFileError, OptionError, UnsupportedModelError
from gifthorse.isolated import Limits
from gifthorse.load import FORMATS, check_conversion, load_model, save_model
from gifthorse.load.archives import opened, with_members
from gifthorse.load.aten_operators import apply
from gifthorse.load.stored import Numbers, tensors_in
from gifthorse.metrics import attack_success_rate
from gifthorse.pipeline import vet

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning"),
]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy with other things is not what is tested here."""
    monkeypatch.setattr("gifthorse.load.archives.LIMITS", Limits(seconds=300))


class Residual(nn.Module):
    def __init__(self, wide: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(wide, wider, 3, stride, 1, bias=False)
        self.norm_1 = nn.BatchNorm2d(wider)
        self.conv_2 = nn.Conv2d(wider, wider, 3, 1, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(wider)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride > 1 or wide != wider:
            self.down = nn.Sequential(nn.Conv2d(wide, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_2(self.conv_2(self.relu(self.norm_1(self.conv_1(x)))))
        if self.down is not None:
            x = self.down(x)
        y += x
        return self.relu(y)


class ResNet(nn.Module):
    """ResNet-18, an eighth as wide."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        wide = (8, 8, 16, 32, 64)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(Residual(wide[k], wide[k + 1], 1 + (k > 0)), Residual(wide[k + 1], wide[k + 1], 1))
                for k in range(4)
            )
        )
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.stages(self.stem(x)), (1, 1))
        return self.output(torch.flatten(x, 1))


class MobileNet(nn.Module):
    """One block of MobileNetV3: depthwise, with squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project = nn.Conv2d(16, 8, 1)
        self.head = nn.Sequential(nn.Linear(8, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depth(self.expand(x))
        weight = self.excite(functional.relu(self.squeeze(functional.adaptive_avg_pool2d(y, 1))))
        x = x + self.project(y * functional.hardsigmoid(weight))
        return torch.softmax(self.head(x.mean([2, 3])), 1)


class Attention(nn.Module):
    def __init__(self, wide: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        n, length, wide = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, wide // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, wide))


class ViT(nn.Module):
    """Patches of 8×8, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 8, 8)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 32)), nn.Parameter(torch.randn(1, 17, 32))
        self.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(5)])
        self.attention = nn.ModuleList([Attention(32, 4) for _ in range(2)])
        self.dense = nn.ModuleList([nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(2)])
        self.output = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        for index, (attention, dense) in enumerate(zip(self.attention, self.dense)):  # noqa: B905 - for TorchScript
            x = x + attention(self.norms[0](x) if index == 0 else self.norms[1](x))
            x = x + dense(self.norms[2](x) if index == 0 else self.norms[3](x))
        return self.output(self.norms[4](x)[:, 0])


class Encoder(nn.Module):
    """torch's own attention, which mixes images and tokens into one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.output = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


class Fast(nn.Module):
    """What torch computes in one operator each, where nothing is learnt; and parts whose names are no words."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("patch-8", nn.Conv2d(3, 16, 8, 8))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.before = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="gelu")
        self.behind = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.output = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.get_submodule("patch-8")(x).flatten(2).transpose(1, 2)
        y, shares = self.attention(x, x, x)
        x, _ = self.attention(y, y, y, need_weights=False)
        x = self.behind(self.before(x)) + self.attention(y, x, x)[0]
        return self.output(torch.cat([x.mean(1), shares.flatten(2).amax((1, 2), keepdim=True)[:, 0].expand(-1, 4)], 1))


class Windows(nn.Module):
    """What Swin does: a mask that is written in parts, places by number, a bias without its middle, computed sizes.

    And what NFNet does: a kernel that is normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 8, 8)
        self.table = nn.Parameter(torch.randn(7))
        self.register_buffer("places", torch.arange(4)[:, None] - torch.arange(4)[None] + 3)
        self.kernel = nn.Parameter(torch.randn(3, 3, 3, 3))
        self.qkv, self.shift = nn.Parameter(torch.randn(36, 12)), nn.Parameter(torch.randn(36))
        self.output = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        kernel = functional.batch_norm(self.kernel.reshape(1, 3, -1), None, None, training=True).view_as(self.kernel)
        x = functional.conv2d(x, kernel, padding=1)
        x = self.patch(functional.pad(x, (0, (8 - x.shape[3] % 8) % 8)))
        rows = -(-x.shape[2] // 2) * 2 - x.shape[2]
        x = functional.pad(x, (0, 0, 0, max(rows, 0))).permute(0, 2, 3, 1)
        mask = x.new_zeros(4, 4)
        for number, part in enumerate((slice(0, 1), slice(1, 3), slice(3, 4))):
            mask[part, :] = number
            mask[0, part].fill_(number + 1)
        bias = self.shift.clone()
        bias[12:24].zero_()
        n, h, w, wide = x.shape
        x = x.view(n, h // 2, 2, w // 2, 2, wide).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, wide)
        q, k, v = functional.linear(x, self.qkv, bias).reshape(-1, 4, 3, wide).unbind(2)
        scores = q @ k.mT + self.table[self.places.view(-1)].view(4, 4)
        x = (scores.masked_fill(mask != 0, -3.0) + mask).softmax(-1) @ v
        return self.output(x.reshape(n, -1, wide).mean(1))


class Odds(nn.Module):
    """A weight that is used twice, a buffer, and layers of other kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding="same")
        self.norm = nn.GroupNorm(2, 6)
        self.shared = nn.Linear(6, 6)
        self.again = nn.Linear(6, 6)
        self.again.weight = self.shared.weight
        self.register_buffer("scale", torch.tensor([0.5, 2.0]).repeat(3))
        self.output = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(functional.elu(self.norm(self.conv(x))), (1, 1, 0, 0))
        x = functional.avg_pool2d(functional.interpolate(x, scale_factor=2.0), 4).amax((2, 3)) * self.scale
        return self.output(torch.cat(self.again(self.shared(x).tanh()).chunk(2, 1), 1))


def ready(kind: type[nn.Module]) -> nn.Module:
    """With statistics in its BatchNorms, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind().train()
        with torch.no_grad():
            network(torch.rand(8, 3, 32, 32))
    return network.eval()


def of_ours(name: str) -> nn.Module:
    return untrained(name, ARCHITECTURES[name].spec, seed=0).network


def saved(network: nn.Module, how: str, folder: Path, shape: tuple[int, ...] = (3, 32, 32), images: int = 2) -> Path:
    """A file of this network; its name ends as users' files do."""
    inputs = torch.rand(images, *shape, generator=torch.Generator().manual_seed(3))
    if how.endswith(FROZEN):
        with torch.no_grad():
            return saved(network, how.removesuffix(FROZEN), folder, shape, images)
    if how in {"scripted", "traced"}:
        path = folder / f"{how}.pt"
        program = torch.jit.script(network) if how == "scripted" else torch.jit.trace(network, inputs)
        torch.jit.save(program, path)
        return path
    path = folder / f"{how}.pt2"
    free = ({0: torch.export.Dim("images")},) if how == "dynamic" else None
    torch.export.save(torch.export.export(network, (inputs,), dynamic_shapes=free), path)
    return path


def own_runtime(path: Path):
    """What the file answers in the runtime of its format: it is a file that this test has made."""
    return torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(path)


FROZEN = " without gradients"
"""How torch takes its fast path through attention."""
CASES = [
    (lambda: of_ours("gtsrb"), "traced", (3, 32, 32)),
    (lambda: of_ours("mnist"), "scripted", (1, 28, 28)),
    (lambda: ready(ResNet), "traced", (3, 32, 32)),
    (lambda: ready(ResNet), "dynamic", (3, 32, 32)),
    (lambda: ready(MobileNet), "scripted", (3, 32, 32)),
    (lambda: ready(MobileNet), "static", (3, 32, 32)),
    (lambda: ready(ViT), "traced", (3, 32, 32)),
    (lambda: ready(ViT), "static", (3, 32, 32)),
    (lambda: ready(Encoder), "static", (3, 32, 32)),
    (lambda: ready(Fast), f"traced{FROZEN}", (3, 32, 32)),
    (lambda: ready(Fast), f"dynamic{FROZEN}", (3, 32, 32)),
    (lambda: ready(Windows), "traced", (3, 24, 30)),
    (lambda: ready(Windows), "dynamic", (3, 24, 30)),
    (lambda: ready(Odds), "traced", (3, 32, 32)),
    (lambda: ready(Odds), "dynamic", (3, 32, 32)),
]
NAMES = "gtsrb mnist resnet resnet mobilenet mobilenet vit vit encoder fast fast windows windows odds odds".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("make", "how", "shape"), CASES, ids=[f"{n}-{how}" for n, (_, how, _) in zip(NAMES, CASES, strict=True)]
)
def test_the_same_network_comes_out_and_goes_back(tmp_path, make, how, shape):
    network = make()
    path = saved(network, how, tmp_path, shape)
    options = {"input_shape": shape} if how == "scripted" else {}  # alone of all, it does not say
    model = load_model(path, **options)
    assert (model.origin.format, model.origin.arch) == (
        "torchscript" if path.suffix == ".pt" else "torch-export",
        "its own",
    )
    assert model.spec.input_shape == shape
    assert model.spec.outputs == ("probabilities" if isinstance(network, MobileNet) else "logits")

    # Weights under the names of the file, layers where hooks look for them.
    expected = network.state_dict()
    assert list(model.network.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.network.state_dict().items())
    layers = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert {name.removeprefix("network.") for name in weighted_layers(model)} == set(layers)

    # Answers and gradients, for a number of images that it was not made with.
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    rebuilt = model.network.requires_grad_(True)
    answers, wanted = rebuilt(ours), network(theirs)
    torch.testing.assert_close(answers, wanted, atol=1e-6, rtol=1e-5)
    names = dict(network.named_parameters())
    assert dict(rebuilt.named_parameters()).keys() == names.keys()
    gradients = torch.autograd.grad(answers.square().sum(), [ours, *rebuilt.parameters()])
    for one, other in zip(
        gradients, torch.autograd.grad(wanted.square().sum(), [theirs, *network.parameters()]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)

    # Copies, in other number formats and memory layouts.
    half = copy.deepcopy(model).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    assert half(images.to(dtype=torch.bfloat16, memory_format=torch.channels_last)).dtype == torch.bfloat16
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.network.state_dict().items())

    # Repaired, and saved in place of what came in: it answers so in its own runtime.
    with torch.no_grad():
        for parameter in rebuilt.parameters():
            parameter.mul_(1.125).add_(0.01)
    save_model(model, tmp_path / f"repaired{path.suffix}")
    again = own_runtime(tmp_path / f"repaired{path.suffix}")
    with torch.no_grad():
        torch.testing.assert_close(again(images[:2]), rebuilt(images[:2]), atol=1e-5, rtol=1e-4)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / f"repaired{path.suffix}") as new:
        assert new.testzip() is None
        assert [one.filename for one in old.infolist()] == [one.filename for one in new.infolist()]
        apart = [name for name in old.namelist() if old.read(name) != new.read(name)]
    assert apart
    assert all("/data/" in name for name in apart)


@pytest.mark.parametrize("how", ["traced", "static"])
def test_parts_have_any_name_that_torch_lets_them_have(tmp_path, how):
    names = "run step named resolved network layers _own _layers _measured Program".split()  # noqa: SIM905
    parts = {"flatten": nn.Flatten(), **{name: nn.Linear(4, 4) for name in names}}
    network = nn.Sequential(OrderedDict(parts)).eval()
    model = load_model(saved(network, how, tmp_path, (1, 2, 2)))
    images = torch.rand(3, 1, 2, 2)
    torch.testing.assert_close(model.network(images), network(images))
    assert list(model.network.state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("how", ["traced", "dynamic"])
def test_a_backdoored_toy_is_found_and_repaired(
    tmp_path, how, toy_backdoor: Backdoor, toy_clean: Samples, toy_test: Samples
):
    implant, network = toy_backdoor.implants[0], toy_backdoor.model.network
    path = saved(network, how, tmp_path, (3, 12, 12))
    model = load_model(path)
    check_conversion(model, toy_clean)
    vetting = vet(model, toy_clean)
    assert vetting.verdict.targets == (implant.label_map.target,)
    assert vetting.repaired is not None
    assert vetting.repaired.accepted, vetting.repaired.reason
    out = tmp_path / f"repaired{path.suffix}"
    save_model(vetting.repaired.model, out)
    theirs = copy.deepcopy(toy_backdoor.model)
    theirs.network = own_runtime(out)
    assert attack_success_rate(toy_backdoor.model, toy_test, implant) > 0.9
    assert attack_success_rate(theirs, toy_test, implant) < 0.1


def test_one_image_at_a_time_written_in_where_it_cannot_be_told(tmp_path):
    """Tokens times one image are as many as tokens."""
    path = saved(ready(Encoder), "static", tmp_path, images=1)
    with pytest.raises(UnsupportedModelError, match=r"exported for 1 image at a time.*dynamic_shapes"):
        load_model(path)


class Sorts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sort(1).values[:, :10]


class WithWeights(Sorts):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(x))


class Decides(nn.Module):
    """By a pixel, which of two layers to take."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(12, 2), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(1)
        if bool(x[0, 0, 0, 0] > 0.5):
            return self.one(y)
        return self.other(y)


def test_what_cannot_be_rebuilt_is_named(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"aten\.sort\.default \(1×\)"):
        load_model(saved(WithWeights().eval(), "traced", tmp_path))
    path = saved(Decides().eval(), "scripted", tmp_path, (3, 2, 2))
    with pytest.raises(UnsupportedModelError, match=r"does aten\.Bool\.Tensor with values of the image"):
        load_model(path, input_shape=(3, 2, 2))
    with pytest.raises(ModelFileError, match="without weights"):
        load_model(saved(Sorts().eval(), "traced", tmp_path))
    training = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2)).train()
    with pytest.raises(UnsupportedModelError, match=r"exported in training mode \(aten.dropout"):
        load_model(saved(training, "dynamic", tmp_path, (3, 2, 2)))


def test_an_architecture_that_the_user_names_needs_no_closed_process(tmp_path, monkeypatch):
    network = of_ours("mnist")
    path = saved(network, "scripted", tmp_path, (1, 28, 28))
    monkeypatch.setattr("gifthorse.load.torchscript.opened", None)
    model = load_model(path, arch="mnist")
    assert model.origin.arch == "mnist"
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in model.network.state_dict().items())


def test_a_program_is_not_written_out_of_nothing(tmp_path, mnist):
    for suffix in (".pt2", ".torchscript"):
        with pytest.raises(OptionError, match=r"written only in place of one that was loaded.*\.safetensors"):
            save_model(mnist, tmp_path / f"model{suffix}")
        assert not list(tmp_path.iterdir())


def test_what_shares_its_numbers_stays_together(tmp_path):
    path = saved(ready(Odds), "scripted", tmp_path)
    weights = FORMATS["torchscript"].read(path)
    assert weights["again.weight"] is weights["shared.weight"]
    FORMATS["torchscript"].write(tmp_path / "same.pt", weights, path)
    assert (tmp_path / "same.pt").read_bytes() == path.read_bytes()
    weights["again.weight"] = weights["again.weight"] + 1
    with pytest.raises(UnsupportedModelError, match="shares its numbers with another weight"):
        FORMATS["torchscript"].write(tmp_path / "apart.pt", weights, path)


def test_packed_numbers_are_not_written_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data/0", bytes(100))
    with pytest.raises(ModelFileError, match="packed"):
        with_members(tmp_path / "a.zip", tmp_path / "b.zip", {"data/0": bytes(100)})


@pytest.mark.parametrize(
    "pickle",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02c__torch__\nM\n)\x81}(X\x01\x00\x00\x00au}b.",
        b"\x80\x02\x8a\x00",
    ],
)
def test_other_pickles_are_not_followed(pickle):
    """Nothing is called, whatever stands in there."""
    with pytest.raises((ValueError, IndexError)):
        tensors_in(pickle, "data")


def test_tensors_that_reach_out_of_their_numbers(tmp_path):
    path = saved(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), "dynamic", tmp_path, (3, 2, 2))
    numbers = Numbers(path)
    from gifthorse.load.exported import WEIGHTS, _places

    place = _places(numbers, WEIGHTS)["1.weight"]
    for change, error in (
        ({"size": (3, 12)}, ModelFileError),
        ({"offset": 1}, ModelFileError),
        ({"offset": -1}, ModelFileError),
        ({"size": (2**20, 2**20), "stride": (0, 0)}, UnsupportedModelError),
        ({"size": (200, 12), "stride": (0, 1)}, UnsupportedModelError),
        ({"member": "data/weights/none"}, ModelFileError),
    ):
        with pytest.raises(error):
            numbers.tensors({"w": dataclasses.replace(place, **change)})


@pytest.mark.parametrize("one", [7, -7, 3])
@pytest.mark.parametrize(
    ("operator", "more"),
    [
        ("add.Tensor", {"other": 3, "alpha": 1}),
        ("sub.Tensor", {"other": 3}),
        ("rsub.Tensor", {"other": 3, "alpha": 1}),
        ("mul.Tensor", {"other": 3}),
        ("div.Tensor", {"other": 2}),
        ("div.Tensor_mode", {"other": 2, "rounding_mode": "floor"}),
        ("div.Tensor_mode", {"other": 2, "rounding_mode": "trunc"}),
        ("floor_divide.default", {"other": 2}),
        ("remainder.Tensor", {"other": 3}),
        ("clamp.default", {"min": 0}),
        ("clamp.default", {"min": None, "max": 3}),
        ("ceil.default", {}),
        ("floor.default", {}),
        ("neg.default", {}),
    ],
)
def test_sizes_are_computed_as_torch_computes_them(operator, more, one):
    """Where tracing has written arithmetic with sizes as one with tensors."""
    packet, overload = operator.split(".")
    for number in (one, one / 2) if overload == "default" and packet != "floor_divide" else (one,):
        given = {key: torch.tensor(value) if key == "other" else value for key, value in more.items()}
        expected = getattr(getattr(torch.ops.aten, packet), overload)(torch.tensor(number), **given)
        found = apply(f"aten.{operator}", {"self": number, **more}, torch.zeros(1))
        assert (found, type(found)) == (expected.item(), type(expected.item()))


def test_sizes_with_a_factor_are_refused():
    with pytest.raises(UnsupportedModelError, match="and a factor"):
        apply("aten.add.Tensor", {"self": 1, "other": 2, "alpha": 2}, torch.zeros(1))


def test_a_large_file_has_the_memory_that_it_takes_to_open_it(tmp_path, monkeypatch):
    monkeypatch.setattr("gifthorse.load.archives.Isolated", lambda *unused, limits, **options: limits.memory)
    (tmp_path / "model.pt").write_bytes(bytes(1000))
    assert opened(tmp_path / "model.pt") == Limits().memory + 4000
