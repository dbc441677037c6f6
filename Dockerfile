# pybroker as a container: docker build -t pybroker . && docker run -p 1883:1883 pybroker
# Keys of the configuration come from the environment (-e PYBROKER__MQTT__MAX_PACKET_SIZE=1MB), or from a
# file of your own (-v ./nanomq.conf:/etc/pybroker/nanomq.conf:ro), or from both: the environment wins.
# It writes to /var/lib/pybroker and /tmp: with --read-only add --tmpfs /tmp.
# The hot path is compiled, which takes a minute or two; --build-arg COMPILED=0 leaves it plain.

ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ARG COMPILED=1
RUN if [ "$COMPILED" = 1 ]; then \
      apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev; \
    fi
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY pybroker ./pybroker
COPY broker ./broker
COPY webhook ./webhook
RUN python -m venv /opt/pybroker \
 && HATCH_BUILD_HOOKS_ENABLE=$COMPILED /opt/pybroker/bin/pip install --no-cache-dir --no-compile .

FROM ${PYTHON}
LABEL org.opencontainers.image.title="pybroker" \
      org.opencontainers.image.description="An MQTT 3.1, 3.1.1 and 5.0 broker with built-in webhooks" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pybroker \
 && install -d -o pybroker -m 0700 /var/lib/pybroker
COPY --from=build /opt/pybroker /opt/pybroker
COPY conf/container.conf /etc/pybroker/nanomq.conf
ENV PATH=/opt/pybroker/bin:$PATH \
    NANOMQ_CONF_PATH=/etc/pybroker/nanomq.conf \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/pybroker
VOLUME /var/lib/pybroker
EXPOSE 1883 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["pybroker", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["pybroker"]
CMD ["start"]
