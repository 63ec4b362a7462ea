# One image for the API, the runners, the dispatcher and the migrations: the command says which.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-trixie AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/dataproc
COPY requirements.lock ./
RUN /opt/dataproc/bin/pip install --require-hashes -r requirements.lock

# The tools that build the wheel are locked with those of the developers, and stay in this stage.
FROM dependencies AS wheel
COPY requirements-dev.lock ./
RUN /opt/dataproc/bin/pip install --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md ./
COPY dataproc dataproc
COPY serve_app serve_app
COPY jobs jobs
RUN /opt/dataproc/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python:${PYTHON}-slim-trixie
# KubeRay's probes call wget. Debian removes old versions from its archive, so a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 dataproc \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /srv/dataproc --shell /usr/sbin/nologin dataproc
COPY --from=dependencies /opt/dataproc /opt/dataproc
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    /opt/dataproc/bin/pip install --no-cache-dir --no-index --no-deps /wheel/*.whl
# Token authentication unless told otherwise: a Ray port without it runs anybody's code.
# It must be the same in every process of a cluster; see docs/settings.md.
ENV PATH=/opt/dataproc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0
WORKDIR /srv/dataproc
USER 10001:10001
EXPOSE 8000 8265
CMD ["dataproc", "up"]
