"""What reflection tells of: the messages in use, and TF Serving's services.

tensorflow-serving-api's own descriptors of these services are of a time before protobuf 4, and can't be imported.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import (  # noqa: F401 - their messages come into the default pool
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import protos

_PACKAGE = "tensorflow.serving"
_FOLDER = "tensorflow_serving/apis"
# Service -> its methods: file, request, response.
_SERVICES = {
    "PredictionService": {
        "Classify": ("classification", "ClassificationRequest", "ClassificationResponse"),
        "Regress": ("regression", "RegressionRequest", "RegressionResponse"),
        "Predict": ("predict", "PredictRequest", "PredictResponse"),
        "MultiInference": ("inference", "MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": ("get_model_metadata", "GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "ModelService": {
        "GetModelStatus": ("get_model_status", "GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("model_management", "ReloadConfigRequest", "ReloadConfigResponse"),
    },
}


def described() -> descriptor_pool.DescriptorPool:
    """One pool of all services and their messages."""
    joined, default = descriptor_pool.DescriptorPool(), descriptor_pool.Default()
    added = set()

    def add(file: Any) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for imported in file.dependencies:
            add(imported)
        copy = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copy)
        joined.Add(copy)

    for service, methods in _SERVICES.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"{_FOLDER}/{service}", package=_PACKAGE, syntax="proto3")
        told = file.service.add(name=service)
        for name, (proto, request, response) in methods.items():
            add(default.FindFileByName(f"{_FOLDER}/{proto}.proto"))
            file.dependency.append(f"{_FOLDER}/{proto}.proto")
            told.method.add(name=name, input_type=f".{_PACKAGE}.{request}", output_type=f".{_PACKAGE}.{response}")
        joined.Add(file)
    add(health_pb2.DESCRIPTOR)
    add(reflection_pb2.DESCRIPTOR)
    add(protos.pool("open_inference").FindFileByName("open_inference.proto"))
    return joined
