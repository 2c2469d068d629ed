"""Beam's worker pool on one address: `python -m tests.beam_pool HOST PORT`. Its own command takes all that a host has.

A pool ends a worker by the number that its task manager gave it, and every task manager counts from 1: two must not
share a pool. Hosts have a pool each; here addresses do.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

if __name__ == "__main__":
    # A pool starts its workers as `python`, wherever PATH finds it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = grpc.server(ThreadPoolExecutor(8))
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, data_buffer_time_limit_ms=-1)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(":".join(sys.argv[1:]))
    server.start()
    threading.Event().wait()
