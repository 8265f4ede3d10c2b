"""A network as a graph of nodes, and how rules replace its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional


@dataclass(eq=False)
class Node:
    """One tensor: `operation` (see `operations`) applied to the tensors of `inputs`."""

    operation: Any
    inputs: list[Node] = field(default_factory=list)


def ordered(outputs: Iterable[Node]) -> list[Node]:
    """The nodes that the outputs need, each after its inputs."""
    order, seen, stack = [], set(), [(node, False) for node in outputs][::-1]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(each, False) for each in node.inputs[::-1]]
    return order


class Surroundings:
    """What a rule may ask about a node's place in the graph."""

    def __init__(self, outputs: Sequence[Node]):
        order = ordered(outputs)
        self._uses = Counter(each for node in order for each in node.inputs)
        self._uses.update(outputs)
        self._sizes = {}
        for node in order:
            self._sizes[node] = node.operation.size(*(self._sizes[each] for each in node.inputs))

    def only(self, node: Node, *kinds: type) -> bool:
        """Whether a node is of one of these operations and feeds one other node alone."""
        return isinstance(node.operation, kinds) and self._uses[node] == 1

    def size(self, node: Node) -> tuple | None:
        """(a, c): the node's height and width are a * n + c for some integers n; or None."""
        return self._sizes[node]

    def replace(self, old: Node, new: Node) -> None:
        """Let `new` have the place of `old`."""
        self._uses[new], self._sizes[new] = self._uses[old], self._sizes[old]


Rule = Callable[[Node, Surroundings], Optional[Node]]


def rewritten(outputs: Sequence[Node], rules: Sequence[Rule]) -> list[Node]:
    """Apply each rule as often as it changes something, and all until none does.

    Args:
        outputs: of the graph, which is used up.
        rules: functions of a node and its `Surroundings` that return another node with the same
            tensor, or None.

    Returns:
        the new outputs, in the order of the old ones.
    """
    outputs, turn, at_rest = list(outputs), 0, 0
    while at_rest < len(rules):
        around, new = Surroundings(outputs), {}
        for node in ordered(outputs):
            node.inputs = [new.get(each, each) for each in node.inputs]
            made = rules[turn](node, around)
            if made is not None:
                new[node] = made
                around.replace(node, made)
        outputs = [new.get(node, node) for node in outputs]
        if new:
            at_rest = 0
        else:
            turn, at_rest = (turn + 1) % len(rules), at_rest + 1
    return outputs
