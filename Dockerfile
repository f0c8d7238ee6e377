# streamd alone: one static binary, its data in /data. There is no published
# image; build it from a checkout:
#
#	docker build -t streamd .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /streamd ./cmd/streamd \
	&& mkdir /data

FROM scratch
COPY --from=build /streamd /streamd
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# Whoever reaches the ports can read and write: publish them on 127.0.0.1.
ENV STREAMD_LISTEN=0.0.0.0:4567 STREAMD_ADMIN=0.0.0.0:4568 STREAMD_INSECURE=true STREAMD_DATA=/data
VOLUME /data
EXPOSE 4567 4568
HEALTHCHECK --interval=2s --timeout=4s --start-period=1s CMD ["/streamd", "health"]
ENTRYPOINT ["/streamd"]
