"""How numbers that kernels made are compared: relative to their size, whatever the instruction set and the threads."""

import numpy as np

# AVX2 against AVX-512, one thread against many, another batch size: 5e-6 seen. A mistake makes 1e-2 and more.
KERNELS = 1e-4


def assert_close(received, expected, relative: float = KERNELS) -> None:
    """Fails if an element is off by more than `relative` of the largest expected one.

    Single elements near 0 carry the rounding of the large ones that they are sums of: so the largest is the measure.
    """
    received, expected = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=0, atol=relative * np.abs(expected).max())
