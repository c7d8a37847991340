# The trainer for GPUs, with Ray for clusters. PyPI's torch for Linux on x86-64 is built with CUDA; the machine needs only the driver
# and the NVIDIA Container Toolkit. The file is linted and its parts are tested, but no test builds the image.
FROM python:3.11-slim-bookworm

# The toolkit gives the container the GPUs and the libraries of the driver that these variables name. With a read-only root, only /data
# and /tmp can be written: /data also holds the cache of data sets and Ray's token.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0 HOME=/data \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /srv/ldsboard
COPY pyproject.toml setup.py README.md LICENSE constraints.txt ./
COPY ldsboard ldsboard
# Only wheels, in the tested versions. torch itself fixes the versions of most CUDA libraries. There are no hashes, unlike in
# server.Dockerfile. The compiler builds the library's kernel, and is removed again. So is the library's source: commands run here,
# and would import it in place of the installed library.
# hadolint ignore=DL3008
RUN python -m pip install --no-cache-dir pip==26.3 \
    && python -m pip install --no-cache-dir --only-binary :all: --constraint constraints.txt --group=train --group=ray \
    && apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && LDSBOARD_REQUIRE_KERNEL=1 python -m pip install --no-cache-dir --only-binary :all: --constraint constraints.txt --no-build-isolation . \
    && rm -r ldsboard build ldsboard.egg-info \
    && python -c "from ldsboard.core.kernel import choose_route; assert choose_route().name != 'blas', choose_route()" \
    && python -c "import torch; assert torch.version.cuda, torch.__version__" \
    && apt-get purge -y --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --home-dir /data --uid 10001 ldsboard \
    && install --directory --owner ldsboard --mode 0700 /data
COPY worker worker
# The data set fashion5k.
COPY benchmarks/fashion5k-mlp/public benchmarks/fashion5k-mlp/public

USER 10001
VOLUME /data
ENTRYPOINT ["python", "-m", "worker"]
CMD ["--help"]
