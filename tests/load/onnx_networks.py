"""Small networks of the common families, and their files from both exporters of torch."""

import logging
import warnings

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv_1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm_1 = nn.BatchNorm2d(after)
        self.conv_2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(after)
        self.short = nn.Sequential()
        if stride > 1:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        hidden = functional.relu(self.norm_1(self.conv_1(x)))
        return functional.relu(self.norm_2(self.conv_2(hidden)) + self.short(x))


class ResNet(nn.Module):
    """ResNet-18's plan, an eighth as wide."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.blocks = nn.Sequential(*(Residual(*one) for one in widths))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(functional.adaptive_avg_pool2d(self.blocks(self.pool(self.stem(x))), 1).flatten(1))


class Inverted(nn.Module):
    """A block of MobileNet: wide, depth-wise, squeezed and excited, narrow again."""

    def __init__(self, width, wide, kernel, activation, *, excite):
        super().__init__()
        self.widen = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), activation())
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            activation(),
        )
        self.squeeze = nn.Conv2d(wide, 4, 1) if excite else None
        self.excite = nn.Conv2d(4, wide, 1) if excite else None
        self.narrow = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        hidden = self.depthwise(self.widen(x))
        if self.squeeze is not None:
            share = functional.adaptive_avg_pool2d(hidden, 1)
            hidden = hidden * functional.hardsigmoid(self.excite(functional.relu(self.squeeze(share))))
        return x + self.narrow(hidden)


class MobileNet(nn.Module):
    """Blocks of versions 2 and 3, and a grouped convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.second = Inverted(8, 16, 3, nn.ReLU6, excite=False)
        self.third = Inverted(8, 24, 5, nn.Hardswish, excite=True)
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.head = nn.Sequential(nn.Linear(16, 20), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(20, 10))

    def forward(self, x):
        return self.head(functional.silu(self.grouped(self.third(self.second(self.stem(x))))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(self.norm_1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm_2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.label = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.places = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.blocks = nn.Sequential(Attention(width, 3), Attention(width, 3))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.label.expand(x.shape[0], -1, -1), tokens], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])


NETWORKS = {"resnet": ResNet, "mobilenet": MobileNet, "vit": VisionTransformer}


def lived_in(network, seed=0):
    """As if it had been trained: weights, biases and statistics that are neither zero nor one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
            elif tensor.is_floating_point() and tensor.ndim > 2:
                tensor.mul_(2.0)
    return network.eval()


def exported(network, path, shape, *, dynamo, batch=None, **options):
    """Write ``network`` to ``path``, for any number of images unless ``batch`` says how many."""
    images = torch.rand(batch or 2, *shape, generator=torch.Generator().manual_seed(9))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            free = None if batch else ({0: torch.export.Dim("batch")},)
            torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=free, verbose=False, **options)
        else:
            axes = None if batch else {"x": {0: "batch"}}
            torch.onnx.export(network, (images,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, **options)
    return path
