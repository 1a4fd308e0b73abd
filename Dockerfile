# Two targets: docs/docker.md says how to build and run them.
#
#   docker build --target serve -t recsys-serve .    answers requests from a bundle; without torch
#   docker build --target train -t recsys-train .    the whole pipeline
#
# Every RUN is a step of docker/install.sh, which the tests execute as well.

FROM python:3.11.14-slim-bookworm AS base
# HOME is where any user may write: the image also runs under `--user` with an id of the host.
ENV PATH=/opt/recsys/bin:$PATH HOME=/tmp LOGNAME=recsys PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
COPY docker/ /src/docker/
RUN /src/docker/install.sh folder /work 10001:10001
WORKDIR /work


# What follows up to the last two stages stays behind: the images take over only what it made.
FROM base AS serve-dependencies
ARG DEVICE=cpu
COPY pyproject.toml constraints.txt /src/
RUN /src/docker/install.sh dependencies serve /opt/recsys

FROM base AS train-dependencies
ARG DEVICE=cpu
# Empty for the default index, whose torch brings CUDA along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt /src/
RUN /src/docker/install.sh dependencies train /opt/recsys

FROM serve-dependencies AS package
COPY README.md LICENSE /src/
COPY recsys/ /src/recsys/
COPY pipelines/ /src/pipelines/
RUN /src/docker/install.sh package /opt/recsys /opt/package


FROM base AS train
COPY --from=train-dependencies /opt/recsys /opt/recsys
COPY --from=package /opt/package /opt/recsys
USER 10001:10001
ENTRYPOINT ["recsys"]
CMD ["--help"]


# The last stage is the default one.
FROM base AS serve
COPY --from=serve-dependencies /opt/recsys /opt/recsys
COPY --from=package /opt/package /opt/recsys
USER 10001:10001
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "/src/docker/healthcheck.py", "http://127.0.0.1:8501/v2/health/ready"]
ENTRYPOINT ["recsys"]
CMD ["serve", "/bundles", "--host", "0.0.0.0"]
