"""Exported networks that were tampered with: what would run when torch loads or asks them."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

Members = dict[str, bytes]
Craft = Callable[[Members], None]

PROGRAM, EXAMPLE = "model/models/model.json", "model/data/sample_inputs/model.pt"
WEIGHTS = "model/data/weights/model_weights_config.json"
CONSTANTS = "model/data/constants/model_constants_config.json"
MARKER = Path("it-ran")
"""Made by whatever runs, where it runs."""
CODE = f"__import__('os').system('touch {MARKER}')"


class Payload:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {MARKER}",)


def members_of(archive: bytes) -> Members:
    """Name -> content."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(members: Members) -> bytes:
    """Members as an archive, none of them compressed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return target.getvalue()


def crafted(archive: bytes, craft: Craft) -> bytes:
    """An archive, tampered with."""
    members = members_of(archive)
    craft(members)
    return packed(members)


def edited(members: Members, name: str = PROGRAM) -> Any:
    """The JSON of a member."""
    return json.loads(members[name])


def put(members: Members, document: object, name: str = PROGRAM) -> None:
    """Make a document the JSON of a member."""
    members[name] = json.dumps(document).encode()


def all_in(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from all_in(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from all_in(inner)


def evaluated_size(members: Members) -> None:
    document = edited(members)
    for found in all_in(document):
        if "expr_str" in found:
            found["expr_str"] = CODE
    put(members, document)


def compiled_guard(members: Members) -> None:
    put(members, edited(members) | {"guards_code": [f"{CODE} or True"]})


def imported_module(members: Members) -> None:
    document = edited(members)
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    spec = json.loads(signature["in_spec"])
    spec[1]["context"] = json.dumps({"__enum__": True, "fqn": "comes_along:Kind", "name": "X"})
    signature["in_spec"] = json.dumps(spec)
    put(members, document)


def argument(name: str, *, kind: int = 1, **value: object) -> dict[str, object]:
    return {"name": name, "arg": value, "kind": kind}


def another_node(members: Members, target: str, *inputs: dict[str, object]) -> None:
    document = edited(members)
    graph = document["graph_module"]["graph"]
    metas = list(graph["tensor_values"].values())
    graph["tensor_values"]["another"] = metas[-1] | {
        "sizes": [{"as_int": 8}],
        "strides": [{"as_int": 1}],
    }
    node: dict[str, object] = {
        "target": target,
        "inputs": list(inputs),
        "outputs": [{"as_tensor": {"name": "another"}}],
        "metadata": {},
        "is_hop_single_tensor_return": None,
        "name": "another",
    }
    graph["nodes"].insert(1, node)
    put(members, document)


def mapped_file(members: Members) -> None:
    another_node(
        members,
        "torch.ops.aten.from_file.default",
        argument("filename", as_string=str(MARKER)),
        argument("shared", as_bool=True, kind=2),
        argument("size", as_int=8, kind=2),
    )


def python_function(members: Members) -> None:
    another_node(members, "torch.os.system", argument("", as_string=f"touch {MARKER}"))


def other_namespace(members: Members) -> None:
    another_node(members, "torch.ops.prim.device.default", argument("a", as_int=1))


def named_argument(members: Members) -> None:
    another_node(members, "torch.ops.aten.relu.default", argument(f"x={CODE}, y", as_int=1))


def graph_argument(members: Members) -> None:
    graph = {"name": "inner", "graph": edited(members)["graph_module"]["graph"]}
    another_node(members, "torch.ops.aten.relu.default", argument("self", as_graph=graph))


def operator_argument(members: Members) -> None:
    operator = argument("self", as_operator="torch.os.system")
    another_node(members, "torch.ops.aten.relu.default", operator)


def object_argument(members: Members) -> None:
    given = {"name": "thing", "class_fqn": "__torch__.torch.classes.any.Thing"}
    another_node(members, "torch.ops.aten.relu.default", argument("self", as_custom_obj=given))


def other_device(members: Members) -> None:
    document = edited(members)
    for found in all_in(document):
        if found.get("type") == "cpu":
            found["type"] = CODE
    put(members, document)


def name_of_a_value(members: Members) -> None:
    document = edited(members)
    for found in all_in(document):
        if found.get("name") == "softmax":
            found["name"] = f"softmax = {CODE}"
    put(members, document)


def path_of_a_weight(members: Members) -> None:
    path = f'network.a"+str({CODE.replace(".", chr(46))})+".weight'
    document = edited(members, WEIGHTS)
    document["config"][path] = next(iter(document["config"].values()))
    put(members, document, WEIGHTS)


def name_of_the_argument(members: Members) -> None:
    document = edited(members)
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = [f"images={CODE}"]
    put(members, document)


def range_of_an_expression(members: Members) -> None:
    document = edited(members)
    document["range_constraints"][CODE] = {"min_val": 2, "max_val": None}
    put(members, document)


def function_in_metadata(members: Members) -> None:
    document = edited(members)
    node = document["graph_module"]["graph"]["nodes"][0]
    node["metadata"]["source_fn_stack"] = "a,torch.hub.load"
    put(members, document)


def quotes_in_metadata(members: Members) -> None:
    document = edited(members)
    node = document["graph_module"]["graph"]["nodes"][0]
    node["metadata"]["stack_trace"] = f'"""\n{CODE}\n"""'
    put(members, document)


def pickled(content: object) -> bytes:
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def pickled_example(members: Members) -> None:
    members[EXAMPLE] = pickled(((Payload(),), {}))


def pickled_beside_the_example(members: Members) -> None:
    inner = members_of(members[EXAMPLE])
    inner["archive/data.pkl"] = pickle.dumps(Payload(), protocol=2)
    members[EXAMPLE] = packed(inner)


def scripted_example(members: Members) -> None:
    inner = members_of(members[EXAMPLE])
    members[EXAMPLE] = packed(inner | {"archive/constants.pkl": b"\x80\x02)."})


def pickled_weight(members: Members) -> None:
    document = edited(members, WEIGHTS)
    payload = next(iter(document["config"].values()))
    payload["use_pickle"] = True
    put(members, document, WEIGHTS)
    members[f"model/data/weights/{payload['path_name']}"] = pickled(Payload())


def pickled_constant(members: Members) -> None:
    payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    put(members, {"config": {"thing": payload | {"tensor_meta": None}}}, CONSTANTS)
    members["model/data/constants/opaque_obj_0"] = pickle.dumps(Payload())


def old_weights(members: Members) -> None:
    members["model/data/weights/model.pt"] = pickled(Payload())


def old_format(members: Members) -> None:
    for name in [*members]:
        del members[name]
    members["version"] = b"8.20"
    members["serialized_exported_program.json"] = b"{}"
    members["serialized_state_dict.pt"] = pickled(Payload())


def compiled_library(members: Members) -> None:
    members["model/data/aotinductor/model/model.so"] = b"\x7fELF"


def another_program(members: Members) -> None:
    members["model/models/other.json"] = members[PROGRAM]


def extra_file(members: Members) -> None:
    members["model/extra/../../climbs"] = b""


RUN = {
    "size": evaluated_size,
    "guard": compiled_guard,
    "module": imported_module,
    "file": mapped_file,
    "example": pickled_example,
    "weight": pickled_weight,
    "constant": pickled_constant,
}
"""What torch 2.13 was seen to run, with MLflow's defaults."""
OTHERS = {
    "function": python_function,
    "namespace": other_namespace,
    "named argument": named_argument,
    "graph": graph_argument,
    "operator": operator_argument,
    "object": object_argument,
    "device": other_device,
    "name": name_of_a_value,
    "path": path_of_a_weight,
    "argument": name_of_the_argument,
    "range": range_of_an_expression,
    "metadata": function_in_metadata,
    "quotes": quotes_in_metadata,
    "pickle": pickled_beside_the_example,
    "script": scripted_example,
    "old weights": old_weights,
    "old format": old_format,
    "library": compiled_library,
    "program": another_program,
    "extra": extra_file,
}
"""What goes the same ways, or could in another release."""
