package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestAnAddressHasNoMoreConnectionsThanItMay(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	const most = 3
	limited := newLimitedListener(inner, most, prometheus.NewRegistry())
	accepted := make(chan net.Conn, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := limited.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var server []net.Conn
	for range most {
		dial()
		server = append(server, <-accepted)
	}
	over := dial()
	require.NoError(t, over.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = over.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the one too many is closed")
	require.InDelta(t, 1, testutil.ToFloat64(limited.refused), 0)

	require.NoError(t, server[1].Close())
	dial()
	server = append(server, <-accepted)
	for _, conn := range server {
		_ = conn.Close()
	}
	for range 100 { // one after the other: none piles up
		dial()
		require.NoError(t, (<-accepted).Close())
	}
	for _, open := range limited.open {
		require.LessOrEqual(t, len(open), most)
	}
	require.NoError(t, inner.Close())
	<-done
}
