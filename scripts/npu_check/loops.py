"""Tell whether data decide how often a loop in a traced graph runs."""

_LOOPS = ("While", "StatelessWhile")


def decided_by_data(op):
    """Whether data decide how often a loop runs.

    Args:
        op: any operation of a graph; what is no loop is decided by nothing.
    """
    return op.type in _LOOPS and not _rounds_are_known(op)


def _rounds_are_known(loop):
    sources = _sources(_graph(loop, "cond"), _graph(loop, "cond").outputs[0])
    return sources is not None and sources <= _known_variables(loop)


def _known_variables(loop):
    """Indices of the loop variables whose values in every round follow from constants alone."""
    body = _graph(loop, "body")
    sources = [_sources(body, output) for output in body.outputs]
    known = {i for i, tensor in enumerate(loop.inputs)
             if sources[i] is not None and _is_known(tensor)}
    while True:
        kept = {i for i in known if sources[i] <= known}
        if kept == known:
            return known
        known = kept


def _is_known(tensor):
    """Whether a tensor outside of a loop follows from constants and shapes alone."""
    return _sources(tensor.graph, tensor) == set()


def _sources(graph, tensor):
    """Indices of the graph's inputs that a tensor is computed from; None if that is not all."""
    places = {each.op.name: i for i, each in enumerate(getattr(graph, "inputs", ()))}
    found, seen, ahead = set(), set(), [tensor]
    while ahead:
        tensor = ahead.pop()
        op = tensor.op
        if op.name in places:
            found.add(places[op.name])
        elif op.type in _LOOPS:
            if tensor.value_index not in _known_variables(op) or not _rounds_are_known(op):
                return None
        elif op.op_def.is_stateful or op.type == "Placeholder":
            return None
        elif (op.name not in seen
              and not (op.type in ("Shape", "Size", "Rank")
                       and op.inputs[0].shape.is_fully_defined())):
            ahead += op.inputs
        seen.add(op.name)
    return found


def _graph(loop, name):
    return loop.graph._get_function(loop.get_attr(name).name).graph
