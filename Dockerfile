# Pyrox as a container: no compiler, no root. docs/operating.md says how to run it.
#   docker build --tag pyrox .
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /source
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY pyrox ./pyrox
RUN python -m venv --without-pip /opt/pyrox \
    && python -m pip --python /opt/pyrox/bin/python install --no-cache-dir '.[all]' \
    && find /opt/pyrox -type d -name tests -prune -exec rm -r {} +

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="pyrox" \
    org.opencontainers.image.description="An HTTP reverse proxy whose middleware is plain Python" \
    org.opencontainers.image.licenses="MIT"
# A number, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 pyrox \
    && useradd --uid 10001 --gid pyrox --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pyrox
COPY --from=build /opt/pyrox /opt/pyrox
COPY deploy/pyrox.conf /etc/pyrox/pyrox.conf
ENV PATH=/opt/pyrox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYROX_HEALTH_URL=http://127.0.0.1:8080/-/healthy
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# Exchanges in progress are finished; give them more than graceful_timeout: docker stop --time 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['PYROX_HEALTH_URL'], timeout=2)"]
ENTRYPOINT ["pyrox"]
CMD ["-c", "/etc/pyrox/pyrox.conf"]
