# The images, by `docker build --target`:
#   pipeline      (default) every command; Kubeflow runs each step in it
#   pipeline-gpu  the same with the CUDA libraries, for `docker run --gpus all`
#   serve         the embedding endpoint alone: no TFX, no Beam, no training
#
#   docker build -t arcface-tfx .
#   docker run --rm -v "$PWD/data:/data:ro" -v "$PWD/out:/work" arcface-tfx run --data /data --root /work
#   docker build -t arcface-tfx-serve --target serve .
#   docker run --rm -p 127.0.0.1:8501:8501 -v "$PWD/out/serving/arcface:/models:ro" arcface-tfx-serve
#
# Any numeric user and a read-only root will do: /work alone is written, and is home and temporary folder, too.
# Debian 13 has glibc 2.41, so the two wheels that ask for 2.38 load as they are (tools/relabel.py is for older hosts).
# To pin the base to its digest: `--build-arg BASE=python@sha256:...`.
ARG BASE=python:3.11-slim-trixie

FROM ${BASE} AS tools
COPY requirements/tools.lock /src/requirements/
RUN python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
        -r /src/requirements/tools.lock \
    && /tools/bin/uv venv --no-project --python "$(command -v python)" /opt/arcface
ENV UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1

FROM tools AS wheel
COPY requirements/runtime.lock /src/requirements/
COPY LICENSE README.md pyproject.toml /src/
COPY arcface_tfx /src/arcface_tfx
COPY pipeline /src/pipeline
COPY components /src/components
COPY arcface_common /src/arcface_common
COPY trainer_module /src/trainer_module
COPY evaluator_custom /src/evaluator_custom
COPY serving /src/serving
RUN --mount=type=cache,target=/root/.cache/uv \
    /tools/bin/uv build --wheel --out-dir /dist --python /opt/arcface/bin/python \
        --require-hashes --build-constraints /src/requirements/runtime.lock /src

# Packages before the wheel: a change of the code leaves these layers, 3.5 GB and a minute of compiling, as they were.
FROM tools AS pipeline-packages
COPY requirements/runtime.lock /src/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /tools/bin/uv pip sync --python /opt/arcface/bin/python --require-hashes \
        --build-constraints /src/requirements/runtime.lock /src/requirements/runtime.lock
COPY --from=wheel /dist /dist
RUN /tools/bin/uv pip install --python /opt/arcface/bin/python --offline --no-deps /dist/*.whl

FROM tools AS gpu-packages
COPY requirements/runtime.lock requirements/gpu.lock /src/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /tools/bin/uv pip sync --python /opt/arcface/bin/python --require-hashes \
        --build-constraints /src/requirements/runtime.lock /src/requirements/gpu.lock
COPY --from=wheel /dist /dist
RUN /tools/bin/uv pip install --python /opt/arcface/bin/python --offline --no-deps /dist/*.whl

# Of TensorFlow, 430 MB are C++ headers.
FROM tools AS serve-packages
COPY requirements/serve.lock /src/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /tools/bin/uv pip sync --python /opt/arcface/bin/python --require-hashes /src/requirements/serve.lock \
    && rm -r /opt/arcface/lib/python3.11/site-packages/tensorflow/include
COPY --from=wheel /dist /dist
RUN /tools/bin/uv pip install --python /opt/arcface/bin/python --offline --no-deps /dist/*.whl

FROM ${BASE} AS base
LABEL org.opencontainers.image.title="arcface-tfx" \
      org.opencontainers.image.description="A TFX pipeline that trains a face recogniser and serves its embeddings" \
      org.opencontainers.image.licenses="Apache-2.0"
# USER names whoever runs it, since a number that /etc/passwd lacks has no name.
RUN useradd --uid 1000 --home-dir /work --no-create-home arcface \
    && install -d -m 1777 /work
# First on PATH: Beam starts its workers, and Kubeflow its steps, as plain `python`.
ENV PATH=/opt/arcface/bin:$PATH \
    HOME=/work \
    TMPDIR=/work \
    USER=arcface \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    TF_ENABLE_ONEDNN_OPTS=1
USER 1000
WORKDIR /work

FROM base AS serve
ENV HEALTH_URL=http://127.0.0.1:8501/v2/health/ready
COPY --from=serve-packages /opt/arcface /opt/arcface
EXPOSE 8500 8501
HEALTHCHECK --start-period=60s \
    CMD ["python", "-c", "import os, ssl, urllib.request as u; u.urlopen(os.environ['HEALTH_URL'], timeout=5, context=ssl._create_unverified_context())"]
ENTRYPOINT ["arcface-tfx", "serve"]
CMD ["/models", "--host", "0.0.0.0"]

# Kubeflow gives `command` and `args` in full, which replaces both lines; `docker run IMAGE run ...` replaces the second.
FROM base AS pipeline-gpu
ENV TF_USE_LEGACY_KERAS=1
COPY --from=gpu-packages /opt/arcface /opt/arcface
ENTRYPOINT ["arcface-tfx"]
CMD ["--help"]

FROM base AS pipeline
ENV TF_USE_LEGACY_KERAS=1
COPY --from=pipeline-packages /opt/arcface /opt/arcface
ENTRYPOINT ["arcface-tfx"]
CMD ["--help"]
