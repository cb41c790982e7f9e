"""What torch.export may say of a network in model.json: as much as our networks need, no more.

torch 2.13 evaluates, compiles, imports or looks up by name most of what stands in it (ADR 0007), so
every field is here with what it may hold, and a key that is not here is refused.
"""

import keyword
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from flows.registry.safety.operators import OPERATORS, OPERATORS_FILE
from models.config import Record

_INTEGER, _PART = r"Integer\([0-9]{1,18}\)", "[A-Za-z][A-Za-z0-9_]*"
_SYMBOL = r"Symbol\('s[0-9]{1,9}', positive=True, integer=True\)"
_IN_SPEC = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": '
    '"builtins.tuple", "context": "null", "children_spec": [{"type": null, "context": null, '
    '"children_spec": []}]}, {"type": "builtins.dict", "context": "[]", "children_spec": []}]}]'
)
_OUT_SPEC = '[1, {"type": null, "context": null, "children_spec": []}]'
MOST_DIMENSIONS = 16


def _no_keyword(name: str) -> str:
    if keyword.iskeyword(name):
        raise ValueError("is a keyword of Python")
    return name


def _an_operator(target: str) -> str:
    if target not in OPERATORS:
        raise ValueError(f"is not on the list of operators in {OPERATORS_FILE}")
    return target


def _no_quotes(trace: str) -> str:
    # FX_GRAPH_SHOW_META puts it into the code that it compiles, between three quotes.
    if '"""' in trace or "'''" in trace:
        raise ValueError("holds three quotes in a row")
    return trace


# torch makes Python code of names, quotes paths in it, and evaluates expressions by sympy.
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,255}$"), AfterValidator(_no_keyword)]
TensorPath = Annotated[str, Field(pattern=rf"^{_PART}(\.({_PART}|[0-9]{{1,6}}))*$", max_length=999)]
_Expression = Annotated[
    str, Field(pattern=rf"^({_INTEGER}|{_SYMBOL}|Mul\({_INTEGER}, {_SYMBOL}\))$")
]
_SymbolName = Annotated[str, Field(pattern=r"^s[0-9]{1,9}$")]
_ModulePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@]{0,999}$")]
_Origin = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,;:@<>()\[\]* -]{0,9999}$")]
_Word = Annotated[str, Field(pattern=r"^[a-z_]{0,32}$")]
_Int = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Float = float | Literal["Infinity", "-Infinity", "NaN"]
_Ints = Annotated[tuple[_Int, ...], Field(max_length=MOST_DIMENSIONS)]


class _OneOf(Record):
    """A union of torch's schema: an object with one key, which says what is in it."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = self.model_fields_set
        if len(given) != 1 or getattr(self, next(iter(given))) is None:
            raise ValueError("holds not exactly one value")
        return self


class _Tensor(Record):
    name: Name


class _Hint(Record):
    as_int: _Int


class _Symbolic(Record):
    expr_str: _Expression
    hint: _Hint | None = None


class _Size(_OneOf):
    as_expr: _Symbolic | None = None
    as_int: _Int | None = None


class _SizeArgument(_OneOf):
    as_name: Name | None = None
    as_int: _Int | None = None


class Device(Record):
    type: Literal["cpu"]
    index: None = None


class _TensorMeta(Record):
    """Type and shape of a value in the graph; numbers of types as in torch's ScalarType."""

    dtype: Annotated[int, Field(ge=1, le=13)]
    sizes: Annotated[tuple[_Size, ...], Field(max_length=MOST_DIMENSIONS)]
    requires_grad: bool
    device: Device
    strides: Annotated[tuple[_Size, ...], Field(max_length=MOST_DIMENSIONS)]
    storage_offset: _Size
    layout: Literal[7]
    """Strided."""


class _OptionalTensor(_OneOf):
    as_tensor: _Tensor | None = None
    as_none: bool | None = None


class _Argument(_OneOf):
    """What an operator is given: no graph, no object, no name of a function."""

    as_none: bool | None = None
    as_tensor: _Tensor | None = None
    as_tensors: tuple[_Tensor, ...] | None = None
    as_optional_tensors: tuple[_OptionalTensor, ...] | None = None
    as_int: _Int | None = None
    as_ints: _Ints | None = None
    as_float: _Float | None = None
    as_floats: Annotated[tuple[_Float, ...], Field(max_length=MOST_DIMENSIONS)] | None = None
    as_string: _Word | None = None
    """How to round, to pad: no operator on the list takes a path."""
    as_sym_int: _SizeArgument | None = None
    as_sym_ints: tuple[_SizeArgument, ...] | None = None
    as_scalar_type: Annotated[int, Field(ge=1, le=13)] | None = None
    as_memory_format: Annotated[int, Field(ge=1, le=4)] | None = None
    as_layout: Literal[7] | None = None
    as_device: Device | None = None
    as_bool: bool | None = None


class _Output(_OneOf):
    as_tensor: _Tensor | None = None
    as_tensors: tuple[_Tensor, ...] | None = None
    as_sym_int: _SizeArgument | None = None


class _TensorOnly(Record):
    as_tensor: _Tensor


class _NamedArgument(Record):
    name: Name
    arg: _Argument
    kind: Literal[1, 2] | None = None


class _Metadata(Record):
    """Where a node comes from: texts that torch keeps and does not resolve."""

    stack_trace: Annotated[str, Field(max_length=99_999), AfterValidator(_no_quotes)] = ""
    nn_module_stack: _Origin = ""
    torch_fn: _Origin = ""


class _Node(Record):
    target: Annotated[str, AfterValidator(_an_operator)]
    inputs: tuple[_NamedArgument, ...]
    outputs: tuple[_Output, ...]
    metadata: _Metadata
    is_hop_single_tensor_return: None = None
    name: Name | None = None


_Nothing = Annotated[dict[str, None], Field(max_length=0)]


class _Graph(Record):
    inputs: tuple[_TensorOnly, ...]
    outputs: tuple[_TensorOnly, ...]
    nodes: tuple[_Node, ...]
    tensor_values: dict[Name, _TensorMeta]
    sym_int_values: dict[Name, _Size]
    sym_bool_values: _Nothing
    is_single_tensor_return: Literal[False] = False
    custom_obj_values: _Nothing = Field(default_factory=dict)
    sym_float_values: _Nothing = Field(default_factory=dict)


class _Parameter(Record):
    arg: _Tensor
    parameter_name: TensorPath


class _Buffer(Record):
    arg: _Tensor
    buffer_name: TensorPath
    persistent: bool


class _Constant(Record):
    arg: _Tensor
    tensor_constant_name: TensorPath


class _User(Record):
    arg: _TensorOnly


class _InputSpec(_OneOf):
    parameter: _Parameter | None = None
    buffer: _Buffer | None = None
    tensor_constant: _Constant | None = None
    user_input: _User | None = None


class _OutputSpec(Record):
    user_output: _User


class _Signature(Record):
    input_specs: tuple[_InputSpec, ...]
    output_specs: tuple[_OutputSpec, ...]


class _CallSignature(Record):
    """How it is called: with one tensor, and it returns one. Other specs may name modules."""

    inputs: tuple[_TensorOnly, ...]
    outputs: tuple[_TensorOnly, ...]
    in_spec: Literal[_IN_SPEC]  # type: ignore[valid-type] # a literal that has a name
    out_spec: Literal[_OUT_SPEC]  # type: ignore[valid-type]
    forward_arg_names: Annotated[tuple[Name, ...], Field(max_length=1)] | None = None


class _Call(Record):
    fqn: _ModulePath
    signature: _CallSignature | None = None


class _GraphModule(Record):
    graph: _Graph
    signature: _Signature
    module_call_graph: tuple[_Call, ...]
    metadata: _Nothing = Field(default_factory=dict)
    treespec_namedtuple_fields: _Nothing = Field(default_factory=dict)


class _Range(Record):
    min_val: _Int | None
    max_val: _Int | None


class _SchemaVersion(Record):
    major: _Int
    minor: _Int


class Program(Record):
    """model.json: a graph of ATen operators on tensors, from one tensor of images to another."""

    graph_module: _GraphModule
    opset_version: dict[Literal["aten"], _Int]
    range_constraints: dict[_SymbolName, _Range]
    schema_version: _SchemaVersion
    verifiers: tuple[Literal["TRAINING", "ATEN"], ...] = ()
    torch_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+_-]{1,99}$")]
    guards_code: Annotated[tuple[str, ...], Field(max_length=0)] = ()
    """Python code that torch compiles; exports of our networks have none."""
