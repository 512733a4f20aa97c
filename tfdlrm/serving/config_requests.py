"""Requests that change the models of a running server."""

import asyncio
import logging

import grpc
from tensorflow_serving.apis import model_management_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.serving.daemon import start_daemon
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import from_config

log = logging.getLogger("tfdlrm.serving")

RELOADER = "reload"
"""Name of the thread that changes the models."""


async def reload_config(
    models: Models, request: model_management_pb2.ReloadConfigRequest
) -> model_management_pb2.ReloadConfigResponse:
    """Answer `ModelService.HandleReloadConfigRequest`, once the models are served.

    Raises:
        ServingError: INVALID_ARGUMENT if the config is wrong, FAILED_PRECONDITION if a
            model cannot be served; the models stay as they are.
    """
    try:
        settings = from_config(request.config, "the request's config")
    except InputError as error:
        refuse(str(error))
    reloading = start_daemon(lambda: models.reload(settings), RELOADER)
    try:
        # The change goes on if the client leaves.
        await asyncio.shield(asyncio.wrap_future(reloading))
    except InputError as error:
        log.error("the models stay as they are: %s", error)
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    return response
