"""The operators that an exported network may call: they compute tensors from tensors.

A list, since neither a namespace nor a schema tells what an operator does: `aten.from_file` maps
any file of the disk, for writing too. None of these touches a file, a device or another process. A
network that needs one more adds it here.
"""

_SHAPES = """
    cat.default chunk.default clone.default contiguous.default expand.default flatten.using_ints
    flip.default gather.default index.Tensor index_select.default lift_fresh_copy.default
    movedim.int narrow.default permute.default
    repeat.default reshape.default roll.default select.int slice.Tensor split.Tensor
    split_with_sizes.default squeeze.default squeeze.dim squeeze.dims stack.default sym_size.int
    t.default transpose.int unbind.int unflatten.int unsqueeze.default view.default
"""
_VALUES = """
    _assert_tensor_metadata.default arange.default full.default ones.default ones_like.default
    to.device to.dtype to.dtype_layout type_as.default zeros.default zeros_like.default
"""
_ARITHMETIC = """
    abs.default add.Scalar add.Tensor clamp.default clamp_max.default clamp_min.default cos.default
    erf.default floor.default round.default sin.default
    div.Scalar div.Tensor div.Tensor_mode eq.Scalar eq.Tensor exp.default ge.Scalar ge.Tensor
    gt.Scalar gt.Tensor le.Scalar le.Tensor log.default lt.Scalar lt.Tensor maximum.default
    minimum.default mul.Scalar mul.Tensor ne.Scalar ne.Tensor neg.default pow.Tensor_Scalar
    reciprocal.default rsqrt.default rsub.Scalar sqrt.default square.default sub.Scalar sub.Tensor
    where.self
"""
_REDUCTIONS = """
    amax.default amin.default argmax.default logsumexp.default max.dim mean.default mean.dim min.dim
    linalg_vector_norm.default prod.dim_int std.correction std.dim sum.default sum.dim_IntList
    var.correction var.dim
"""
_NETWORKS = """
    adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_max_pool2d.default
    addmm.default avg_pool1d.default avg_pool2d.default batch_norm.default bmm.default
    conv1d.default conv1d.padding conv2d.default conv2d.padding dropout.default elu.default
    embedding.default feature_dropout.default gelu.default group_norm.default gru.input
    hardsigmoid.default hardswish.default hardtanh.default instance_norm.default layer_norm.default
    leaky_relu.default linear.default log_softmax.int lstm.input matmul.default max_pool1d.default
    max_pool2d.default mish.default mm.default pad.default prelu.default relu.default relu6.default
    rms_norm.default rnn_relu.input rnn_tanh.input scaled_dot_product_attention.default
    sigmoid.default silu.default softmax.int softplus.default tanh.default upsample_bilinear2d.vec
    upsample_nearest2d.vec _upsample_bicubic2d_aa.vec
"""
# On numbers of images and other sizes, as torch writes them.
_SIZES = ("add", "floordiv", "mod", "mul", "sub")

OPERATORS_FILE = "/".join(__name__.split(".")) + ".py"
"""As messages call this list."""
OPERATORS = frozenset(
    [
        *(
            f"torch.ops.aten.{name}"
            for name in (_SHAPES + _VALUES + _ARITHMETIC + _REDUCTIONS + _NETWORKS).split()
        ),
        *(f"_operator.{name}" for name in _SIZES),
    ]
)
