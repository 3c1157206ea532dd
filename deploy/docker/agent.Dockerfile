# syntax=docker/dockerfile:1
#
# The agent: docker build -f deploy/docker/agent.Dockerfile -t gohub-agent .
# To see the host and not the container it needs the host's network and pid namespaces and / at /host, read-only.

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=development
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$VERSION" -o /out/gohub-agent ./cmd/agent \
    && mkdir -m 0700 /out/state

FROM gcr.io/distroless/static-debian13:nonroot
COPY --from=build /out/gohub-agent /usr/local/bin/gohub-agent
COPY --from=build --chown=65532:65532 /out/state /var/lib/gohub-agent
ENV GOHUB_STATE_DIR=/var/lib/gohub-agent
USER 65532:65532
VOLUME /var/lib/gohub-agent
ENTRYPOINT ["/usr/local/bin/gohub-agent"]
CMD ["run"]
