# The image that Kubeflow runs every step in, and that runs the command line anywhere:
#   docker build -t arcface-tfx .
#   docker run --rm -v "$PWD/data:/data:ro" -v "$PWD/out:/work" arcface-tfx run --data /data --root /work
# Debian 13 has glibc 2.41, so the two wheels that ask for 2.38 load as they are (tools/relabel.py is for older hosts).
# With `--build-arg LOCK=gpu` it has the CUDA libraries, and runs on GPUs by `docker run --gpus all`.
FROM python:3.11-slim-trixie AS build
ARG LOCK=runtime

COPY requirements/tools.lock /src/requirements/
RUN python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
        -r /src/requirements/tools.lock \
    && /tools/bin/uv venv --no-project --python /usr/local/bin/python /opt/arcface

# Packages before sources: a change of the code leaves this layer, 3.5 GB and a minute of compiling, as it was.
COPY requirements/runtime.lock requirements/${LOCK}.lock /src/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    /tools/bin/uv pip sync --python /opt/arcface/bin/python --link-mode copy --compile-bytecode --require-hashes \
        --build-constraints /src/requirements/runtime.lock /src/requirements/${LOCK}.lock

COPY LICENSE README.md pyproject.toml /src/
COPY arcface_tfx /src/arcface_tfx
COPY pipeline /src/pipeline
COPY components /src/components
COPY arcface_common /src/arcface_common
COPY trainer_module /src/trainer_module
COPY evaluator_custom /src/evaluator_custom
COPY serving /src/serving
RUN /tools/bin/uv pip install --python /opt/arcface/bin/python --offline --no-deps --no-build-isolation \
        --compile-bytecode /src

FROM python:3.11-slim-trixie

RUN useradd --create-home --uid 1000 arcface && install -d -o arcface /work
COPY --from=build /opt/arcface /opt/arcface
# First on PATH: Beam starts its workers, and Kubeflow its steps, as plain `python`.
ENV PATH=/opt/arcface/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    TF_ENABLE_ONEDNN_OPTS=1
USER arcface
WORKDIR /work
# Kubeflow gives `command` and `args` in full, which replaces both lines; `docker run IMAGE run ...` replaces the second.
ENTRYPOINT ["arcface-tfx"]
CMD ["--help"]
