"""Describe models to clients: their signatures, and the states of their versions."""

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.model_versions import Model, VersionStatus
from tfdlrm.serving.models import Models


def model_metadata(
    models: Models, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Answer `PredictionService.GetModelMetadata`."""
    if not request.metadata_field:
        refuse("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            refuse(f"Metadata field {field} is not supported")
    with models.use(request.model_spec) as servable:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        definitions = get_model_metadata_pb2.SignatureDefMap(
            signature_def=servable.meta_graph.signature_def
        )
        response.metadata["signature_def"].Pack(definitions)
        return response


def model_status(
    models: Models, spec: model_pb2.ModelSpec
) -> get_model_status_pb2.GetModelStatusResponse:
    """Answer `ModelService.GetModelStatus`."""
    model = models.model(spec.name)
    statuses = dict(model.statuses)
    if spec.version.value or spec.version_label:  # 0 means all versions
        version = _version(model, spec)
        if version not in statuses:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find version {version} of model {spec.name}",
            )
        statuses = {version: statuses[version]}
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, status in sorted(statuses.items(), reverse=True):
        _add_status(response, version, status)
    return response


def _version(model: Model, spec: model_pb2.ModelSpec) -> int:
    if not spec.version_label:
        return spec.version.value
    return model.version_of_label(spec.version_label)


def _add_status(
    response: get_model_status_pb2.GetModelStatusResponse,
    version: int,
    status: VersionStatus,
) -> None:
    entry = response.model_version_status.add(version=version, state=status.state)
    if status.error is not None:
        entry.status.error_code = status.error.code.value[0]
        entry.status.error_message = status.error.message
    else:
        entry.status.SetInParent()  # clients expect a status without an error too
