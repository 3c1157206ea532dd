package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
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
	limited := newCeiling(1_000_000).listen(inner, "grpc", most, prometheus.NewRegistry())
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

// from is a connection that seems to come from elsewhere.
type from struct {
	*net.TCPConn
	address string
}

func (c from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.address))
}

func TestAnIPv6NetworkCountsAsOneAndAddressesAreForgotten(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer inner.Close()
	conn, err := net.Dial("tcp", inner.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	open := func(address string) net.Conn { return from{conn.(*net.TCPConn), address} }
	limited := newCeiling(1_000_000).listen(inner, "grpc", 2, prometheus.NewRegistry())
	require.True(t, limited.admit(open("[2001:db8:1:2::1]:1")))
	require.True(t, limited.admit(open("[2001:db8:1:2:ffff::9]:1")))
	require.False(t, limited.admit(open("[2001:db8:1:2:aaaa::9]:1")))
	require.True(t, limited.admit(open("[2001:db8:1:3::1]:1")))
	require.True(t, limited.admit(open("192.0.2.1:1")))
	require.True(t, limited.admit(open("[::ffff:192.0.2.1]:1")))
	require.False(t, limited.admit(open("192.0.2.1:2")))
	require.NoError(t, conn.Close()) // all of them
	for i := range 10 * fewAddresses {
		require.True(t, limited.admit(open(fmt.Sprintf("[2001:db8:%x:%x::1]:1", i/1000, i%1000))))
	}
	require.LessOrEqual(t, len(limited.open), 2*fewAddresses)
}

func TestListenersHaveNoMoreConnectionsTogetherThanThereMayBe(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer inner.Close()
	dial := func(address string) net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return from{conn.(*net.TCPConn), address}
	}
	now := time.Now()
	both := newCeiling(3)
	both.now = func() time.Time { return now }
	registry := prometheus.NewRegistry()
	grpc, http := both.listen(inner, "grpc", 10, registry), both.listen(inner, "http", 10, registry)
	first := dial("192.0.2.1:1")
	require.True(t, grpc.admit(first))
	require.True(t, http.admit(dial("192.0.2.1:2")))
	require.True(t, http.admit(dial("192.0.2.2:1")))
	require.False(t, http.admit(dial("192.0.2.3:1")))
	require.False(t, grpc.admit(dial("192.0.2.3:1")))
	require.NoError(t, first.Close())
	now = now.Add(time.Second)
	require.True(t, http.admit(dial("192.0.2.3:1")), "the other listener's has gone")
	require.False(t, grpc.admit(dial("192.0.2.3:2")))
}

func TestSomeDescriptorsAreKeptFromConnections(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 256, 1024: 768, 65536: 65280, 1<<64 - 1: 1<<20 - 256} {
		require.Equal(t, want, connectionsOf(descriptors))
	}
	require.Positive(t, mostConnections())
}
