"""Max-pooling before the rectifier: the same numbers and gradients, from a quarter of the rectifier's work.

A rectifier is monotone, so the largest of rectified values is the rectified largest value, whatever the window.
"""

from torch import fx, nn
from torch.nn import functional

FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a user's network may raise where it is given placeholders, or run in another order than it was written in."""
RECTIFIERS = (functional.relu, functional.relu_, "relu", "relu_")
POOLS = (functional.max_pool2d,)


def pooled_first(network: nn.Module) -> nn.Module:
    """``network`` with each rectifier behind the max-pooling that follows it; itself if there is none that can be seen.

    A graph is read by running the network's code on placeholders, and holds for inputs on which the code takes the
    same way. Whoever uses it has to compare its answers with the network's own.
    """
    try:
        traced = fx.symbolic_trace(network)
    except FAILURES:
        return network
    parts = dict(traced.named_modules())
    moved = False
    for pool in list(traced.graph.nodes):
        before = pool.all_input_nodes
        if not (_is(pool, parts, nn.MaxPool2d, POOLS) and len(before) == 1):
            continue
        (rectifier,) = before
        if not (_is(rectifier, parts, nn.ReLU, RECTIFIERS) and len(rectifier.users) == 1):
            continue
        source = rectifier.all_input_nodes[0]
        pool.replace_all_uses_with(rectifier)
        pool.replace_input_with(rectifier, source)
        rectifier.replace_input_with(source, pool)
        pool.append(rectifier)
        moved = True
    if not moved:
        return network
    traced.recompile()
    return traced


def _is(node: fx.Node, parts: dict[str, nn.Module], kind: type[nn.Module], functions: tuple[object, ...]) -> bool:
    if node.op == "call_module":
        return isinstance(parts[str(node.target)], kind)
    return node.op in {"call_function", "call_method"} and node.target in functions
