"""The one list of the product's packages below the front for Python."""

PACKAGES = ("arcface_common", "components", "evaluator_custom", "pipeline", "serving", "trainer_module")
