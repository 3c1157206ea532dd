package auth

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// errBadCredential: there is a bearer token, and it is malformed or unknown.
var errBadCredential = errors.New("the bearer token is malformed or not known here")

// parseBearer reads the values of the authorization header, or of the metadata of that name. It returns "" where there is
// no bearer token: other schemes belong to others, as a proxy with a password of its own.
func parseBearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errBadCredential
	}
	scheme, token, _ := strings.Cut(strings.Trim(values[0], " "), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", nil
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || len(token) > maxTokenLength {
		return "", errBadCredential
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", errBadCredential
		}
	}
	return token, nil
}

// bearer returns the principal that the token belongs to, and false if there is none.
func (a *Authoriser) bearer(token string) (Principal, bool) {
	// Both are compared always, so that the time does not tell which of them is set.
	agent, api := a.agentToken.matches(token), a.apiToken.matches(token)
	switch {
	case agent:
		return Principal{Kind: KindAgent, Name: "agent"}, true
	case api:
		return Principal{Kind: KindToken, Name: "api token"}, true
	}
	return Principal{}, false
}

// isLocalAddr tells whether the other end of a connection is this machine.
func isLocalAddr(addr net.Addr) bool {
	switch addr := addr.(type) {
	case nil:
		return false
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return addr.AddrPort().Addr().Unmap().IsLoopback()
	}
	return isLocalRemote(addr.String())
}

func isLocalRemote(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// forwarding are the headers in which proxies tell whom they call for.
var forwarding = []string{"X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Host", "Forwarded"}

// isForwarded tells whether a proxy on this machine passes on a call from elsewhere, as far as it says so. Such headers
// are never believed to give a right, only to take one away.
func isForwarded(get func(name string) []string) bool {
	for _, name := range forwarding {
		for _, value := range get(name) {
			for part := range strings.SplitSeq(value, ",") {
				if !isLoopbackHost(hostOf(strings.TrimSpace(part))) {
					return true
				}
			}
		}
	}
	return false
}
