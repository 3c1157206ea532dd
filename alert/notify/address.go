package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errPrivate: the name leads to an address that is not public.
var errPrivate = errors.New("address is not public; set allow_private to reach it")

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// directDial reaches every address.
func directDial() dialFunc { return (&net.Dialer{Timeout: 10 * time.Second}).DialContext }

// publicDial refuses addresses that are not public. It looks at the very address that the socket is about to connect
// to, after the name was resolved, so that a name that resolves to something else the second time gains nothing.
func publicDial() dialFunc {
	dialer := &net.Dialer{
		Timeout: 10 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			addrPort, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("address to connect to: %w", err)
			}
			if !public(addrPort.Addr()) {
				return fmt.Errorf("%s: %w", addrPort.Addr(), errPrivate)
			}
			return nil
		},
	}
	return dialer.DialContext
}

// notPublic are the ranges of the special-purpose address registries that do not lead to the public Internet, beside
// those that netip.Addr has a method for. Ranges that carry an IPv4 address inside are refused as a whole.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, loopback, unspecified
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("3fff::/20"),       // documentation
	netip.MustParsePrefix("5f00::/16"),       // segment routing
	netip.MustParsePrefix("fec0::/10"),       // site-local
}

// public tells whether an address is one of the public Internet.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, prefix := range notPublic {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}
