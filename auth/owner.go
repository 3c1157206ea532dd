package auth

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AddressOwner is what one client surely has of the address space, and so what bounds an address are counted by: its IPv4
// address, or, as any client may take any of its network, the 64 bits of its IPv6 network. remote is an address with a port,
// as net/http and net.Addr have it; what has no IP address, as a Unix socket, has the zero Prefix, which is not valid.
func AddressOwner(remote string) netip.Prefix {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	return ownerOf(from.Addr())
}

func ownerOf(address netip.Addr) netip.Prefix {
	address = plain(address)
	bits := 32
	if address.Is6() {
		bits = 64
	}
	owner, _ := address.Prefix(bits) // every address has as many
	return owner
}

// plain is an IPv4 address as such, and none of an interface.
func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

// forwardedFor has the address of the client before that of each proxy that passed the request on, as far as they tell.
const forwardedFor = "X-Forwarded-For"

// Proxies are the reverse proxies that are believed when they tell for whom they pass requests on. The zero value believes none.
// It is for counting only: no right comes of it.
type Proxies struct {
	networks []netip.Prefix
}

// ParseProxies reads addresses and networks (CIDR) with commas between them.
func ParseProxies(list string) (Proxies, error) {
	var p Proxies
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		network, err := netip.ParsePrefix(part)
		if address, bare := netip.ParseAddr(part); bare == nil {
			address = plain(address)
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		switch {
		case err != nil:
			return Proxies{}, fmt.Errorf("%s has %q, which is no address as 10.0.0.1 and no network as 10.0.0.0/24", keyTrustedProxies, part)
		case network.Bits() == 0:
			return Proxies{}, fmt.Errorf("%s has %q, which is everybody: anyone could pass for another then", keyTrustedProxies, part)
		}
		p.networks = append(p.networks, network.Masked())
	}
	return p, nil
}

// Owner is the AddressOwner of who makes a request: of the connection, or, where that is a trusted proxy's, of the last client in
// its X-Forwarded-For that is none. What stands before that the client may have made up.
func (p Proxies) Owner(r *http.Request) netip.Prefix {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	client := plain(from.Addr())
	for _, value := range slices.Backward(r.Header.Values(forwardedFor)) {
		for rest, more := value, true; more; {
			if !p.trusts(client) {
				return ownerOf(client)
			}
			var hop string
			cut := strings.LastIndexByte(rest, ',')
			if more = cut >= 0; more {
				rest, hop = rest[:cut], rest[cut+1:]
			} else {
				hop = rest
			}
			address, err := netip.ParseAddr(hostOf(strings.TrimSpace(hop)))
			if err != nil {
				return ownerOf(client) // the proxy does not know: it is its own
			}
			client = plain(address)
		}
	}
	return ownerOf(client)
}

func (p Proxies) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(network netip.Prefix) bool { return network.Contains(address) })
}
