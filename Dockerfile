# The image that `registry-proxy install compose` builds. BASE is any image with Python 3.11 to 3.13 and its venv module.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python3 -m venv /opt/registry-proxy \
    && /opt/registry-proxy/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes -r requirements/runtime.txt \
    && python3 -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /build/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/registry-proxy/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --no-deps --no-index /wheel/*.whl \
    && /opt/registry-proxy/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="registry-proxy" \
      org.opencontainers.image.description="A pull-through cache for container images" \
      org.opencontainers.image.licenses="Apache-2.0"
# Whoever the container runs as (--user) can write into a new volume, which takes over the mode of this folder.
RUN echo 'registry-proxy:x:10001:10001::/var/lib/registry-proxy:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'registry-proxy:x:10001:' >> /etc/group \
    && mkdir -p /etc/registry-proxy /var/lib/registry-proxy \
    && chown 10001:10001 /var/lib/registry-proxy \
    && chmod 1777 /var/lib/registry-proxy
COPY --from=build /opt/registry-proxy /opt/registry-proxy
ENV PATH=/opt/registry-proxy/bin:$PATH
USER 10001:10001
WORKDIR /etc/registry-proxy
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["registry-proxy", "healthcheck"]
ENTRYPOINT ["registry-proxy"]
CMD ["serve"]
