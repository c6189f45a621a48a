"""Side paths, operations and branches, in networks that have them and in honest ones."""

import random

import pytest
import torch
from torch import nn

from gifthorse.arch import ARCHITECTURES, KNOWN
from gifthorse.core.seeds import seeded
from gifthorse.provenance.graph import Graph, Node, _reached, _Ways, look_at_graph
from gifthorse.provenance.network import look_at_network
from gifthorse.provenance.operators import BRANCHES, ORDINARY, RANDOM, SHAPES, plain
from gifthorse.provenance.recorded import recorded

IMAGE = (3, 16, 16)


def rules(network, shape=IMAGE):
    return sorted({one.rule for one in look_at_network(network, shape)})


def chain(*operators, graph_input="image"):
    """A graph of one operation after the other, each with weights of its own."""
    values = [graph_input, *(f"v{index}" for index in range(len(operators)))]
    nodes = tuple(
        Node(f"n{index}", operator, (values[index], f"w{index}"), (values[index + 1],))
        for index, operator in enumerate(operators)
    )
    return Graph(nodes, (graph_input,), (values[-1],))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_built_in_architectures_are_nothing_to_speak_of(name):
    known = ARCHITECTURES[name]
    assert rules(known.build(known.spec), known.spec.input_shape) == []


@pytest.mark.parametrize("name", ["mnist", "gtsrb", "deepid"])
def test_trojannet_is_seen(name):
    known = KNOWN[f"trojannet:{name}"]
    found = look_at_network(known.build(known.spec), known.spec.input_shape, file="model.pth")
    assert sorted(one.rule for one in found) == ["GH121", "GH121", "GH123"]
    assert {one.place for one in found} == {"index", "gt", "add"}
    assert all(one.file == "model.pth" for one in found)
    assert "target.conv" in next(one.message for one in found if one.rule == "GH123")


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(True))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images):
        return torch.relu_(self.last(self.body(images)) + images)


class Dense(nn.Module):
    def __init__(self, channels, layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels + 4 * i, 8, 1), nn.Conv2d(8, 4, 3, padding=1)) for i in range(layers)
        )

    def forward(self, images):
        found = [images]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.places = nn.Parameter(torch.zeros(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.places
        return self.head(self.encoder(tokens)[:, 0])


class Inception(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels, 8, size, padding=size // 2) for size in (1, 3, 5))

    def forward(self, images):
        return torch.cat([branch(images) for branch in self.branches], 1)


class Masked(nn.Module):
    """A mask is made as large as the image, and of nothing that is in it."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, images):
        x = self.conv(images)
        mask = x.new_zeros(x.shape[2:])
        mask[:2].fill_(1)
        return self.head((x + mask.masked_fill(mask != 0, -1.0)).mean((2, 3)))


def ended(*layers, channels):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


HONEST = {
    "residual": lambda: ended(nn.Conv2d(3, 8, 3), *(Residual(8) for _ in range(3)), channels=8),
    "dense": lambda: ended(
        nn.Conv2d(3, 8, 3), Dense(8, 6), nn.Conv2d(32, 8, 1), Dense(8, 12), nn.Conv2d(56, 8, 1), Dense(8, 24),
        nn.Conv2d(104, 8, 1), Dense(8, 16), channels=72,
    ),
    "attention": Attention,
    "masked": Masked,
    "inception": lambda: ended(Inception(3), Inception(24), Inception(24), channels=24),
    "squeeze": lambda: ended(nn.Conv2d(3, 8, 3, groups=1), nn.Hardswish(), nn.Conv2d(8, 8, 3, groups=8), channels=8),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.filterwarnings("ignore:.*nested tensor.*")
def test_honest_networks_are_nothing_to_speak_of(name):
    assert rules(HONEST[name]()) == []


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(*(nn.Conv2d(channels, 8, 3, padding=1) for channels in (3, 8, 8, 8, 8)))
        self.head = ended(channels=8)


class Architectural(Trunk):
    """The trigger is found without weights, past the trunk, as Bober-Irizar et al. do."""

    def forward(self, images):
        signal = torch.exp(nn.functional.avg_pool2d(images, 4) * 10).mean(1, keepdim=True)
        return self.head(nn.functional.adaptive_avg_pool2d(self.trunk(images), 4) + signal)


class Early(Trunk):
    """The side path leaves behind the first layer, and goes straight to the answer."""

    def forward(self, images):
        first = self.trunk[0](images)
        return self.head(self.trunk[1:](first)) + first.mean((2, 3))[:, :4]


class Straight(Trunk):
    def forward(self, images):
        return self.head(self.trunk(images)) + images.flatten(1)[:, :4]


class Decides(Trunk):
    def forward(self, images):
        answer = self.head(self.trunk(images))
        return answer.flip(1) if images[0, 0, 0, 0] > 0.9 else answer


class Counts(Trunk):
    def forward(self, images):
        scale = images.max().item()
        return self.head(self.trunk(images * scale))


class Compares(Trunk):
    def forward(self, images):
        return self.head(self.trunk(torch.where(images > 0.5, images, 0)))


class Draws(Trunk):
    def forward(self, images):
        return self.head(self.trunk(images)) * torch.rand(4)


class Shaped(Trunk):
    """Code that looks at shapes is honest."""

    def forward(self, images):
        return self.head(self.trunk(images if images.shape[2] > 4 else images.flip(2)).view(images.size(0), 8, 16, 16))


class InPlace(Trunk):
    """What is written in place is followed, in all views of it."""

    def forward(self, images):
        copy = torch.zeros(len(images), 3, 16, 16)
        copy[:, :, :8] = images[:, :, :8]
        copy[:, :, 8:].copy_(images[:, :, 8:])
        return self.head(self.trunk(copy))


class Escapes(Trunk):
    """NumPy is not seen by torch."""

    def forward(self, images):
        return self.head(self.trunk(torch.from_numpy(images.numpy() * 2)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Architectural, ["GH123"]),
        (Early, ["GH123"]),
        (Straight, ["GH123"]),
        (Decides, ["GH121", "GH122"]),
        (Counts, ["GH122"]),
        (Compares, ["GH121"]),
        (Draws, ["GH121"]),
        (Shaped, []),
        (InPlace, []),
        (Escapes, ["GH116"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_belong(kind, expected):
    found = rules(kind())
    # Two ways from the image that meet before the trunk, as in Compares, are none past it.
    assert found == expected


def test_the_network_and_the_random_state_are_left_as_they_were():
    with seeded(3):
        network = Draws().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.random.get_rng_state()
    look_at_network(network, IMAGE)
    assert network.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())


def test_operations_are_named_by_their_module():
    names = [one.name for one in recorded(ended(nn.Conv2d(3, 4, 3), channels=4), torch.zeros(1, 3, 8, 8)).nodes]
    assert names[0] == "0.convolution"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        (("Conv", "Relu", "Gemm"), []),
        (("Conv", "If", "Gemm"), ["GH122"]),
        (("Conv", "Greater", "Gemm"), ["GH121"]),
        (("Conv", "com.example.Backdoor", "Gemm"), ["GH121"]),
        (("Conv", "Shape", "Gather", "Gemm"), ["GH116"]),
    ],
)
def test_graphs_of_other_formats(operators, expected):
    assert [one.rule for one in look_at_graph(chain(*operators))] == expected


def test_every_branch_of_many_is_counted():
    nodes = [Node(f"conv{i}", "Conv", ("image", f"w{i}"), (f"v{i}",)) for i in range(3)]
    nodes.append(Node("sum", "Sum", ("v0", "v1", "v2"), ("answer",)))
    (finding,) = look_at_graph(Graph(tuple(nodes), ("image",), ("answer",)))
    assert finding.message.startswith("3 branches part at the image")


def test_branches_that_cross_are_told_as_such():
    """As in HRNet, whose resolutions are mixed with each other again and again."""
    nodes = [
        *(Node(f"a{i}", "Conv", ("image", f"w{i}"), (f"a{i}",)) for i in range(2)),
        *(Node(f"b{i}", "Add", ("a0", "a1"), (f"b{i}",)) for i in range(2)),
        Node("sum", "Add", ("b0", "b1"), ("answer",)),
    ]
    (finding,) = look_at_graph(Graph(tuple(nodes), ("image",), ("answer",)))
    assert finding.message.startswith("branches that cross each other part at the image and meet again at 'sum'")


def test_a_graph_of_nothing():
    assert [one.rule for one in look_at_graph(Graph((), ("image",), ("image",)))] == ["GH116"]
    assert [one.rule for one in look_at_graph(Graph((), (), ()))] == ["GH116"]


def test_ways_are_counted_however_many_there_are():
    values = ["image"]
    nodes = []
    for step in range(400):  # 2 to the power of 400 ways
        nodes += [
            Node(f"a{step}", "Conv", (values[-1], "w"), (f"a{step}",)),
            Node(f"b{step}", "Relu", (values[-1],), (f"b{step}",)),
        ]
        nodes.append(Node(f"c{step}", "Add", (f"a{step}", f"b{step}"), (f"c{step}",)))
        values.append(f"c{step}")
    assert look_at_graph(Graph(tuple(nodes), ("image",), (values[-1],))) == []


def test_names_of_operators():
    assert {plain(name) for name in ("aten.add_.Tensor", "aten::add", "Add", "aten::add_")} == {"add"}
    for names in (ORDINARY, BRANCHES, RANDOM, SHAPES):
        assert all(name == plain(name) for name in names)
    assert not ORDINARY & (BRANCHES | RANDOM)


def depth(ways, start, end):
    """The most layers with weights between two operations, as it was once computed for each pair."""
    most = {start: 0}
    for number in ways._on_a_way:
        if start < number <= end:
            befores = [most[one] for one in ways._before[number] if one in most]
            if befores:
                most[number] = max(befores) + ways._weighs[number]
    return most.get(end, 0)


def branches(ways, fork, merge):
    """What lies between, parted by going through all parts for each operation."""
    parts = [set()] if fork in ways._before[merge] else []
    for number in (one for one in ways._on_a_way if fork < one < merge):
        linked = [part for part in parts if part & set(ways._before[number])]
        parts = [part for part in parts if part not in linked] + [{number}.union(*linked)]
    counted = [(sorted(part), sum(ways._weighs[one] for one in part)) for part in parts]
    return sorted(counted, key=lambda one: (one[1], len(one[0])))


@pytest.mark.parametrize("seed", range(50))
def test_depths_and_branches_are_those_of_the_plain_way(seed):
    draw = random.Random(seed)
    nodes = []
    for index in range(40):
        reach = draw.choice((2, 5, 20))
        before = draw.sample(range(max(0, index - reach), index + 1), k=min(index + 1, draw.choice((1, 1, 2, 3))))
        kind = draw.choice(("Conv", "Relu"))
        nodes.append(Node(f"n{index}", kind, (*(f"v{one}" for one in before), f"w{index}"), (f"v{index + 1}",)))
    graph = Graph(tuple(nodes), ("v0",), ("v40",))
    ways = _Ways(graph, _reached(graph))
    assert ways.whole == depth(ways, 0, 41)
    for fork, merge in ways.stretches():
        assert ways.depth(fork) == depth(ways, 0, fork)
        assert ways.depth(merge) - ways.depth(fork) == depth(ways, fork, merge)
        assert ways.branches(fork, merge) == branches(ways, fork, merge)
