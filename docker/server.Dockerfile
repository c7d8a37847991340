# The service in its embedded mode: one process, SQLite and files in /data.
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LDSBOARD_DATA_DIR=/data

WORKDIR /srv/ldsboard
COPY pyproject.toml setup.py README.md LICENSE docker/server-requirements.txt ./
COPY ldsboard ldsboard
# Only wheels: pip would build a source archive with packages that have no hashes. The compiler builds the library's kernel, and is
# removed again. So is the library's source: commands run here, and would import it in place of the installed library.
# hadolint ignore=DL3008
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r server-requirements.txt \
    && apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && LDSBOARD_REQUIRE_KERNEL=1 python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && rm -r ldsboard build ldsboard.egg-info \
    && python -c "from ldsboard.core.kernel import choose_route; assert choose_route().name != 'blas', choose_route()" \
    && apt-get purge -y --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 ldsboard \
    && install --directory --owner ldsboard --mode 0700 /data
COPY alembic alembic
COPY app app
COPY templates/ci templates/ci

USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz')"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0"]
