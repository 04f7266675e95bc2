"""Which layer's output goes into which, on the way to a loss: read off the autograd graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor
from torch.autograd.graph import Node

_Key = TypeVar("_Key")


def nodes_of(tensor: Tensor) -> tuple[Node, ...]:
    """The graph's nodes that stand for ``tensor``, as it is now: its own, and that of the tensor that it is a view of,
    to which an in-place operation on the view would lead."""
    own, base = tensor.grad_fn, tensor._base
    under = None if base is None else base.grad_fn
    return tuple(node for node in (own, under) if node is not None)


def nodes_from(loss: Tensor) -> list[Node]:
    """All nodes of the graph of ``loss``, each after those that it goes into."""
    return [] if loss.grad_fn is None else _from_the_end_on([loss.grad_fn], {loss.grad_fn: []})


def links(ends: Iterable[Tensor], outputs: Mapping[Node, Iterable[_Key]]) -> dict[_Key, tuple[_Key, ...]]:
    """Finds, for everything in ``outputs`` from which a way leads to ``ends``, a loss or what one is computed from,
    what it goes into next on that way.

    ``outputs``: by node of the graph, what it is an output of; of several at one node, as of a module and of the one
    that it ends with, each goes into the next. What goes straight to an end has nothing that it goes into.

    To be called before the backward pass, which may free the graph.
    """
    roots = [x.grad_fn for x in ends if x.grad_fn is not None]
    parents: dict[Node, list[Node]] = {root: [] for root in roots}
    order = _from_the_end_on(list(parents), parents)
    # By node, what is next on the ways from there to the loss.
    after: dict[Node, dict[_Key, None]] = {}
    found: dict[_Key, tuple[_Key, ...]] = {}
    for node in order:
        above: dict[_Key, None] = {}
        for parent in parents[node]:
            above |= after[parent]
        for key in reversed(tuple(outputs.get(node, ()))):
            # A key has several nodes where a module has several outputs.
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *(other for other in above if other != key))))
            above = {key: None}
        after[node] = above
    return found


def _from_the_end_on(roots: list[Node], parents: dict[Node, list[Node]]) -> list[Node]:
    """All nodes, each after those that it leads to; notes in ``parents`` which those are."""
    waiting: dict[Node, int] = dict.fromkeys(roots, 0)
    stack = list(roots)
    while stack:  # how many ways lead to each node
        node = stack.pop()
        for child, _ in node.next_functions:
            if child is None:
                continue
            if child not in waiting:
                waiting[child], parents[child] = 0, []
                stack.append(child)
            waiting[child] += 1
            parents[child].append(node)
    order, ready = [], [root for root in roots if not waiting[root]]
    while ready:
        node = ready.pop()
        order.append(node)
        for child, _ in node.next_functions:
            if child is not None:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
    return order
