package auth

import "net/netip"

// AddressOwner is what one client surely has of the address space, and so what bounds an address are counted by: its IPv4
// address, or, as any client may take any of its network, the 64 bits of its IPv6 network. remote is an address with a port,
// as net/http and net.Addr have it; what has no IP address, as a Unix socket, has the zero Prefix, which is not valid.
func AddressOwner(remote string) netip.Prefix {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	address, bits := from.Addr().Unmap().WithZone(""), 32
	if address.Is6() {
		bits = 64
	}
	owner, _ := address.Prefix(bits) // every address has as many
	return owner
}
