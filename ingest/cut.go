package ingest

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
)

// Credentials lets a Server cut off a peer that does not end its stream when it is asked to: gRPC itself offers no way to end
// a stream while its handler waits for a message, and a second goroutine to wait beside it would cost each of thousands of
// idle agents some 8 KiB. The gRPC server must use these around its own.
func Credentials(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return cuttingCredentials{inner}
}

type cuttingCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c cuttingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	return conn, cuttable{info, raw}, err
}

// Clone implements credentials.TransportCredentials.
func (c cuttingCredentials) Clone() credentials.TransportCredentials {
	return cuttingCredentials{c.TransportCredentials.Clone()}
}

// cuttable remembers the connection of a peer.
type cuttable struct {
	credentials.AuthInfo
	conn net.Conn
}

// Cut closes the connection.
func (c cuttable) Cut() { _ = c.conn.Close() } // it may be closed already

// cut closes the connection of a call, and so ends all its streams.
func cut(ctx context.Context) {
	if from, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(cuttable); ok {
			info.Cut()
		}
	}
}
