"""The ground floor: what every package uses and none of it knows a package above, nor TensorFlow or TFX."""
