# pybroker as a container: docker build -t pybroker . && docker run -p 1883:1883 pybroker
# Keys of the configuration come from the environment (-e PYBROKER__MQTT__MAX_PACKET_SIZE=1MB), or from a
# file of your own (-v ./nanomq.conf:/etc/pybroker/nanomq.conf:ro), or from both: the environment wins.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY pybroker ./pybroker
COPY broker ./broker
COPY webhook ./webhook
RUN python -m venv /opt/pybroker && /opt/pybroker/bin/pip install --no-cache-dir --no-compile .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="pybroker" \
      org.opencontainers.image.description="An MQTT 3.1, 3.1.1 and 5.0 broker with built-in webhooks" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pybroker \
 && install -d -o pybroker -m 0700 /run/pybroker /var/lib/pybroker
COPY --from=build /opt/pybroker /opt/pybroker
COPY conf/container.conf /etc/pybroker/nanomq.conf
ENV PATH=/opt/pybroker/bin:$PATH \
    NANOMQ_CONF_PATH=/etc/pybroker/nanomq.conf \
    XDG_RUNTIME_DIR=/run/pybroker \
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
