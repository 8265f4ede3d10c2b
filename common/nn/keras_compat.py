"""The one file that knows which Keras this is: 3 on TensorFlow 2.21, or 2.6 on 2.6.5."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence

os.environ["KERAS_BACKEND"] = "tensorflow"  # a user's own keras.json may name another

import tensorflow as tf  # noqa: E402
from tensorflow import keras  # noqa: E402

from common.hdf5 import in_memory  # noqa: E402

IS_KERAS_3 = keras.__version__.startswith("3.")
METADATA = "sr_zoo"  # attribute of an `.h5` of the zoo: JSON of the model's name, scale and options
Tensor = tf.Tensor  # for type hints: what layers take and return


def register(cls: type) -> type:
    """Decorate a layer so that stock `load_model` finds it once its module is imported."""
    return keras.utils.register_keras_serializable(package="sr_zoo")(cls)


def set_seed(seed: int) -> None:
    """Seed the initial weights of the models built next, reproducible within one stack."""
    if IS_KERAS_3:
        keras.utils.set_random_seed(seed)
    else:
        tf.random.set_seed(seed)


def function(python_function: Callable | None = None, **options) -> Callable:
    """`tf.function` traced as written, with shapes relaxed after the first retracing, without XLA.

    Without AutoGraph, whose rewriting takes a tenth of the tracing: write `tf.cond` and not `if`.
    """
    relax = "reduce_retracing" if IS_KERAS_3 else "experimental_relax_shapes"
    return tf.function(python_function, autograph=False, **{relax: True, **options})


def set_policy(name: str) -> None:
    """Set the policy of the layers built next: float32, mixed_float16 or mixed_bfloat16."""
    keras.mixed_precision.set_global_policy(name)


def policy_name() -> str:
    """The name of the current policy."""
    return keras.mixed_precision.global_policy().name


class policy_scope:  # noqa: N801 - reads as a statement
    """`with policy_scope("float32"):` builds layers of another policy than the global one."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self):
        self.before = policy_name()
        set_policy(self.name)

    def __exit__(self, *_):
        set_policy(self.before)


@contextlib.contextmanager
def at_most(elements: int) -> Iterator[None]:
    """Within `with`, models whose weights have more elements than that cannot be built.

    Raises:
        ValueError: before memory is taken for the first weight beyond.
    """
    original, left = keras.layers.Layer.add_weight, elements

    def add_weight(layer, *args, **kwargs):
        nonlocal left
        shape = kwargs.get("shape") or next((a for a in args if isinstance(a, (tuple, list))), ())
        left -= functools.reduce(operator.mul, shape, 1)
        if left < 0 or min(shape, default=0) < 0:
            raise ValueError(f"it describes a network of more than {elements:,} numbers")
        return original(layer, *args, **kwargs)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original


def h5_bytes(model: keras.Model) -> bytes:
    """An uncompiled model as the bytes of one `.h5` that stock `load_model` opens on this stack.

    It has the zoo's description of the model if there is one. A model of mixed precision is
    written as its float32 twin, so that the file means the same everywhere; its variables are
    float32 in any case.
    """
    metadata = getattr(model, "zoo_metadata", None)
    text = model.to_json()
    plain = text.replace('"mixed_float16"', '"float32"').replace('"mixed_bfloat16"', '"float32"')
    if plain != text:
        twin = keras.models.model_from_json(plain)
        twin.set_weights(model.get_weights())
        model = twin
    with in_memory() as (file, close):
        if IS_KERAS_3:
            from keras.src.legacy.saving import legacy_h5_format

            # model.save() does the same, but warns that .h5 is a legacy format.
            legacy_h5_format.save_model_to_hdf5(model, file, include_optimizer=False)
        else:
            with warnings.catch_warnings():  # it warns that custom layers may have masks
                warnings.simplefilter("ignore")
                model.save(file, save_format="h5", include_optimizer=False)
        if metadata:
            file.attrs[METADATA] = metadata
        return close()


def layer_variables(layer: keras.layers.Layer) -> list:
    """The variables of one layer in the order in which an `.h5` holds its arrays."""
    if IS_KERAS_3:
        return list(layer.trainable_weights) + list(layer.non_trainable_weights)
    return list(layer.weights)


def tf_variables(model: keras.Model) -> list[tf.Variable]:
    """The `tf.Variable`s of a model or its inference form, which an export must keep."""
    return [variable if isinstance(variable, tf.Variable) else variable.value
            for variable in model.variables]


# One call of a layer within a functional model; listed: its inputs are the elements of a list.
Call = namedtuple("Call", "layer inputs outputs listed")


def calls(model: keras.Model) -> Iterator[Call]:
    """The calls of layers that make up a functional model, each after those that it needs.

    Raises:
        NotImplementedError: the model is not functional, or a layer takes more than tensors.
    """
    if not hasattr(model, "_nodes_by_depth"):
        raise NotImplementedError(f"{model.name} is not a functional model")
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            if IS_KERAS_3:
                layer, arguments = node.operation, node.arguments.args
                inputs, options = node.input_tensors, node.arguments.kwargs
            else:
                layer, arguments = node.layer, node.call_args
                inputs, options = node.keras_inputs, node.call_kwargs
            listed = isinstance(arguments[0], (list, tuple))
            if (len(arguments) != 1 or len(inputs) != (len(arguments[0]) if listed else 1)
                    or any(value is not None for value in options.values())):
                raise NotImplementedError(f"{layer.name} takes more than tensors")
            yield Call(layer, list(inputs), tf.nest.flatten(node.outputs), listed)


def build_optimizer(optimizer: keras.optimizers.Optimizer, variables: Sequence) -> None:
    """Create the optimizer's slots, so that a checkpoint can be restored into them."""
    if IS_KERAS_3:
        optimizer.build(variables)
        # Its gradients are already summed over the replicas; it would sum them again.
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        inner._all_reduce_sum_gradients = list
    else:
        inner = getattr(optimizer, "_optimizer", optimizer)
        _ = inner.iterations
        inner._create_all_weights(variables)


def state_variables(thing: keras.Model | keras.optimizers.Optimizer | tf.Variable
                    ) -> list[tf.Variable]:
    """The `tf.Variable`s that hold the state of a model or an optimizer; a variable itself."""
    if isinstance(thing, keras.Model):
        return tf_variables(thing)
    if not isinstance(thing, keras.optimizers.Optimizer):
        return [thing]
    if IS_KERAS_3:
        return [variable.value for variable in thing.variables]
    scale = getattr(thing, "_loss_scale", None)
    hyper = getattr(thing, "_optimizer", thing)._hyper.values()  # of a checkpoint too
    return [*thing.variables(), *(value for value in hyper if isinstance(value, tf.Variable)),
            *([scale.current_loss_scale, scale.counter] if scale else [])]


def with_loss_scaling(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Wrap an optimizer for float16: dynamic loss scale, steps with infinite gradients skipped."""
    return keras.mixed_precision.LossScaleOptimizer(optimizer)


def scaled_loss(optimizer: keras.optimizers.Optimizer, loss: Tensor) -> Tensor:
    """The loss to differentiate: multiplied by the loss scale if the optimizer has one."""
    if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return loss
    return optimizer.scale_loss(loss) if IS_KERAS_3 else optimizer.get_scaled_loss(loss)


def unscaled_gradients(optimizer: keras.optimizers.Optimizer,
                       gradients: list[Tensor]) -> list[Tensor]:
    """Divide gradients of a `scaled_loss` by the loss scale."""
    if not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return gradients
    if IS_KERAS_3:
        scale = tf.convert_to_tensor(optimizer.dynamic_scale)
        return [gradient / scale for gradient in gradients]
    return optimizer.get_unscaled_gradients(gradients)


def apply_reduced_gradients(optimizer: keras.optimizers.Optimizer, gradients: list[Tensor],
                            variables: Sequence) -> None:
    """Apply gradients that are unscaled and already summed over the replicas."""
    if not IS_KERAS_3:
        # An NPU's optimizer lacks this argument, and one device has nothing to sum.
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        optimizer.apply_gradients(zip(gradients, variables), **(
            {"experimental_aggregate_gradients": False} if several else {}))
        return
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        # It divides by its scale itself; a power of two, so nothing is lost.
        scale = tf.convert_to_tensor(optimizer.dynamic_scale)
        gradients = [gradient * scale for gradient in gradients]
    optimizer.apply_gradients(zip(gradients, variables))


def learning_rate(optimizer: keras.optimizers.Optimizer) -> Tensor:
    """The learning rate of the current step, as a tensor."""
    return tf.convert_to_tensor(getattr(optimizer, "inner_optimizer", optimizer).learning_rate)


def set_learning_rate(optimizer: keras.optimizers.Optimizer, value: Tensor) -> None:
    """Set the learning rate of the next step, within a compiled function."""
    getattr(optimizer, "inner_optimizer", optimizer).learning_rate.assign(value)
