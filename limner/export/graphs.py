"""ONNX graphs: three functions of a model joined into one, taken apart again, their weights stored in half the bytes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PARTS = ("encode", "draw", "paint")
"""The functions, and the first part of the names of everything inside them."""
SMALLEST = 64
"""Weights with fewer numbers stay in float32: scalars and the like, which would save nothing."""


def named(graph: Any, part: str, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A graph whose inputs and outputs have these names, and everything inside it a name that begins with its part's.

    An output that is an input, or that stands among the outputs twice, gets an operator of its own.
    """
    graph = copy.deepcopy(graph)
    known = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
    copies = []
    for value, name in zip(graph.output, outputs, strict=True):
        if value.name in known or any(value.name == weight.name for weight in graph.initializer):
            copies.append((value.name, name))
        else:
            known[value.name] = name

    def renamed(name: str) -> str:
        return known.get(name, f"{part}/{name}") if name else ""

    for number, node in enumerate(graph.node):
        assert not any(attribute.HasField("g") for attribute in node.attribute), f"{node.op_type} holds a graph"
        node.name = f"{part}/{number}"
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for weight in graph.initializer:
        weight.name = renamed(weight.name)
    for number, (source, name) in enumerate(copies):
        graph.node.append(helper.make_node("Identity", [renamed(source)], [name], name=f"{part}/copy-{number}"))
    for value, name in (*zip(graph.input, inputs), *zip(graph.output, outputs)):
        value.name = name
    del graph.value_info[:]
    return graph


def joined(graphs: Sequence[Any], outputs: Sequence[str], opset: int) -> Any:
    """One model of several graphs, each of which takes what those before it give. outputs: names of those of the last one."""
    made: dict[str, Any] = {}
    inputs = []
    for graph in graphs:
        inputs += [value for value in graph.input if value.name not in made]
        made |= {value.name: value for value in graph.output}
    whole = helper.make_graph(
        [node for graph in graphs for node in graph.node],
        "limner",
        inputs,
        [made[name] for name in outputs],
        initializer=[weight for graph in graphs for weight in graph.initializer],
        value_info=[value for name, value in made.items() if name not in outputs],
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], producer_name="limner")
    model.ir_version = 10
    return model


def taken_apart(model: Any) -> dict[str, Any]:
    """The functions of a model that `joined` made, each as a model of its own, by the name of its part."""
    graph = model.graph
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    found = {}
    for part in PARTS:
        nodes = [node for node in graph.node if node.name.startswith(f"{part}/")]
        if not nodes:
            continue
        made = {name for node in nodes for name in node.output}
        weights = [weight for weight in graph.initializer if weight.name.startswith(f"{part}/")]
        known = made | {weight.name for weight in weights}
        taken = dict.fromkeys(name for node in nodes for name in node.input if name and name not in known)
        outputs = [value for name, value in values.items() if name in made]
        single = helper.make_graph(nodes, part, [values[name] for name in taken], outputs, initializer=weights)
        found[part] = helper.make_model(single, opset_imports=list(model.opset_import), producer_name="limner")
        found[part].ir_version = model.ir_version
    return found


def halved(model: Any) -> None:
    """Store weights in float16, each followed by a cast to float32: half the bytes, the same operators. Engines cast once, when they load.

    Weights that float16 cannot hold stay as they are.
    """
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALLEST:
            continue
        values = numpy_helper.to_array(weight)
        if not np.all(np.abs(values) < np.finfo(np.float16).max):
            continue
        name, part = weight.name, weight.name.partition("/")[0]
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], name=f"{part}/cast/{name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def digest(model: Any) -> str:
    """SHA-256 of all weights and operators."""
    found = hashlib.sha256()
    for weight in model.graph.initializer:
        found.update(weight.name.encode())
        found.update(numpy_helper.to_array(weight).tobytes())
    for node in model.graph.node:
        found.update("|".join([node.op_type, *node.input, *node.output]).encode())
    return found.hexdigest()


def parsed(content: bytes) -> Any:
    """A model from a file's bytes. Raises ValueError where they are none."""
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, of several kinds
        raise ValueError(str(error)) from error
