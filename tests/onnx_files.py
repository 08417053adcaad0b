"""ONNX files that were made to do harm."""

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

_KIND = TensorProto.FLOAT
LATENTS = {"z": (_KIND, ["N", 4])}
PICTURES = {"x": (_KIND, ["N", 3, 16, 16])}
SHAPE = numpy_helper.from_array(np.array([-1, 3, 16, 16]), "shape")


def model(nodes: list[NodeProto], inputs: dict, outputs: dict, *constants: TensorProto) -> bytes:
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in each.items()]
        for each in (inputs, outputs)
    ]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(
        helper.make_graph(nodes, "g", *infos, constants), opset_imports=opsets, ir_version=10
    ).SerializeToString()


def weights(value: float = 1.0) -> TensorProto:
    return numpy_helper.from_array(np.full((4, 3 * 16 * 16), value, np.float32), "w")


def looping(more_than: int = 0, *, growing: bool = False, turns: int | None = None) -> bytes:
    """A generator whose Loop never ends where it gets more than so many latents.

    Unless it ends after so many turns; in each of them it may double an array.
    """
    carried = [helper.make_tensor_value_info(name, _KIND, ["M", 4]) for name in ("before", "after")]
    kinds = {"turn": (TensorProto.INT64, []), "on": (TensorProto.BOOL, []), "on_and_on": (TensorProto.BOOL, [])}
    turn, on, again = (helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items())
    step = (
        helper.make_node("Concat", ["before", "before"], ["after"], axis=0)
        if growing
        else helper.make_node("Identity", ["before"], ["after"])
    )
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_and_on"]), step], "b", [turn, on, carried[0]], [again, carried[1]]
    )
    nodes = [
        helper.make_node("Shape", ["z"], ["count"], end=1),
        helper.make_node("Greater", ["count", "limit"], ["several"]),
        helper.make_node("Squeeze", ["several"], ["begin"]),
        helper.make_node("Loop", ["" if turns is None else "turns", "begin", "z"], ["looped"], body=body),
        helper.make_node("MatMul", ["looped", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "shape"], ["x"]),
    ]
    limit = numpy_helper.from_array(np.array([more_than]), "limit")
    most = [] if turns is None else [numpy_helper.from_array(np.array(turns), "turns")]
    return model(nodes, LATENTS, PICTURES, weights(0.1), SHAPE, limit, *most)


def vast(side: int) -> bytes:
    """A generator of pictures that no memory holds: zeros of side × side."""
    nodes = [
        helper.make_node("Shape", ["z"], ["count"], end=1),
        helper.make_node("Concat", ["count", "sides"], ["size"], axis=0),
        helper.make_node("ConstantOfShape", ["size"], ["x"]),
    ]
    sides = numpy_helper.from_array(np.array([3, side, side]), "sides")
    return model(nodes, LATENTS, {"x": (_KIND, ["N", 3, side, side])}, sides)
