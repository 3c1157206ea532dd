# syntax=docker/dockerfile:1
#
# The server with the dashboard inside: docker build -f deploy/docker/server.Dockerfile -t gohub-server .
# Build images are pinned to a minor version, so that a rebuild brings its security fixes.

FROM --platform=$BUILDPLATFORM node:24-bookworm-slim AS web
WORKDIR /src/web
# The lock file alone decides what is installed, and npm asks for the local stand-in of `sharp`.
COPY web/package.json web/package-lock.json ./
COPY web/scripts scripts
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
COPY --from=web /src/web/out web/out
ARG TARGETOS TARGETARCH VERSION=development
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    test -f web/out/index.html \
    && go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/gohub-server ./cmd/server \
    && mkdir -m 0700 /out/data

FROM gcr.io/distroless/static-debian13:nonroot
COPY --from=build /out/gohub-server /usr/local/bin/gohub-server
# A volume that is mounted here starts with this owner, so the server needs no right but its own.
COPY --from=build --chown=65532:65532 /out/data /var/lib/gohub
ENV GOHUB_DATA_DIR=/var/lib/gohub \
    GOHUB_HTTP_LISTEN=:7700 \
    GOHUB_GRPC_LISTEN=:7701
# Neither TLS nor GOHUB_INSECURE_PLAINTEXT is set here: without one of them the server refuses to start.
USER 65532:65532
VOLUME /var/lib/gohub
EXPOSE 7700 7701
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/gohub-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/gohub-server"]
CMD ["serve"]
