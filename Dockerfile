# pgtrace as a sidecar: docker build -t pgtrace . ; docker run --rm pgtrace --help
# BASE needs Python 3.11 or later with venv.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# With wheels beside it (make wheels), the build needs no network.
RUN python3 -m venv /opt/pgtrace \
 && if [ -d wheels ]; then /opt/pgtrace/bin/pip install --no-cache-dir --no-index --find-links wheels pgtrace; \
    else /opt/pgtrace/bin/pip install --no-cache-dir .; fi \
 && /opt/pgtrace/bin/pip uninstall -y pip

FROM ${BASE}
COPY --from=build /opt/pgtrace /opt/pgtrace
ENV PATH=/opt/pgtrace/bin:$PATH PYTHONUNBUFFERED=1
# Captures hold what programs send: they belong to this user alone.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin pgtrace \
 && install -d -o pgtrace -m 0700 /captures
USER 10001
VOLUME /captures
EXPOSE 6433
STOPSIGNAL SIGTERM
ENTRYPOINT ["pgtrace"]
CMD ["--help"]
