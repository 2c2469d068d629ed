"""Keeps AutoGraph away from our functions and TensorFlow Transform's: they branch and loop by TensorFlow's own ops.

Rewriting ours took half of the time of a short training of the demo's network, as a profiler sees it, in every process,
and left a file for each in the temporary folder; Transform's layer, which looks labels up, took 1.2 s. A user's own
layers are rewritten as ever, and may say `if` of a tensor. So the switch can't be `do_not_convert` nor
`autograph=False`, which hold for all that is called below, and TensorFlow has no public one by module. A function that
is a `tf.function` itself is rewritten all the same.
"""

from tensorflow.python.autograph.core import config

from arcface_common.packages import PACKAGES

config.CONVERSION_RULES = (
    *map(config.DoNotConvert, (*PACKAGES, "tensorflow_transform")),
    *config.CONVERSION_RULES,
)
