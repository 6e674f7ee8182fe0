"""Our own tensorflow-datasets builders: prepared without a network and without TensorFlow."""
