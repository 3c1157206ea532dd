package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The keys of the server's settings, as messages to people name them.
const (
	keyHTTPListen     = "http_listen"
	keyGRPCListen     = "grpc_listen"
	keyPassword       = "password"
	keyPasswordHash   = "password_hash"
	keyAgentToken     = "agent_token"
	keyAPIToken       = "api_token"
	keyTLSCert        = "tls_cert_file"
	keyTLSKey         = "tls_key_file"
	keyAllowPlaintext = "insecure_plaintext"
	keyClusterListen  = "cluster_listen"
	keyClusterSecret  = "cluster_secret"
	keyTrustedProxies = "trusted_proxies"
)

// Exposure is what decides whether others than this machine can reach the server, and what then guards it.
type Exposure struct {
	// HTTPListen and GRPCListen are addresses as net.Listen takes them, or "unix:" and a path.
	HTTPListen, GRPCListen string
	HasTLS, AllowPlaintext bool
	HasAgentToken          bool
	HasPassword            bool
}

// CheckExposure refuses to listen beyond loopback without an agent token, a password, and TLS or the explicit wish for
// plain text. The error names every setting that is missing and what to do. Host names are looked up; one that
// does not lead to loopback addresses only counts as exposed.
func CheckExposure(e Exposure) error {
	return e.check(net.DefaultResolver.LookupNetIP)
}

// lookup is net.Resolver.LookupNetIP.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (e Exposure) check(look lookup) error {
	var exposed, missing []string
	for _, listen := range []struct{ key, address string }{{keyHTTPListen, e.HTTPListen}, {keyGRPCListen, e.GRPCListen}} {
		if !isLoopbackListen(listen.address, look) {
			exposed = append(exposed, fmt.Sprintf("%s is %q", listen.key, listen.address))
		}
	}
	if len(exposed) == 0 {
		return nil
	}
	if !e.HasAgentToken {
		missing = append(missing, fmt.Sprintf("set %s to a secret of at least %d characters (`openssl rand -hex 32` makes one), and give it to the agents", keyAgentToken, minTokenLength))
	}
	if !e.HasPassword {
		missing = append(missing, "set "+keyPasswordHash+" to what `gohub-server hash-password` prints, or set "+keyPassword)
	}
	if !e.HasTLS && !e.AllowPlaintext {
		missing = append(missing, "set "+keyTLSCert+" and "+keyTLSKey+", or set "+keyAllowPlaintext+" to true where something else encrypts the traffic")
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.New(strings.Join(exposed, " and ") + ", which other machines can reach: " + strings.Join(missing, "; ") +
		"; or listen on 127.0.0.1 only")
}

// CheckClusterExposure refuses to listen beyond loopback for other servers of the cluster without a secret, and TLS or the explicit
// wish for plain text, as CheckExposure does for others.
func CheckClusterExposure(listen, secret string, hasTLS, allowPlaintext bool) error {
	return checkClusterExposure(listen, secret, hasTLS, allowPlaintext, net.DefaultResolver.LookupNetIP)
}

func checkClusterExposure(listen, secret string, hasTLS, allowPlaintext bool, look lookup) error {
	if secret != "" && len(secret) < minTokenLength {
		return fmt.Errorf("%s has %d characters; at least %d are needed (`openssl rand -hex 32` makes one)", keyClusterSecret, len(secret), minTokenLength)
	}
	if isLoopbackListen(listen, look) {
		return nil
	}
	var missing []string
	if secret == "" {
		missing = append(missing, fmt.Sprintf("set %s to a secret of at least %d characters (`openssl rand -hex 32` makes one), the same on all servers", keyClusterSecret, minTokenLength))
	}
	if !hasTLS && !allowPlaintext {
		missing = append(missing, "set "+keyTLSCert+" and "+keyTLSKey+", or set "+keyAllowPlaintext+" to true where something else encrypts the traffic")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s is %q, which other machines can reach: %s", keyClusterListen, listen, strings.Join(missing, "; "))
}

// lookupTimeout bounds the start of a server whose name servers are silent.
const lookupTimeout = 2 * time.Second

// isLoopbackListen tells whether only this machine can reach a listener at the address. What is in doubt is not.
func isLoopbackListen(address string, look lookup) bool {
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "/") || strings.HasPrefix(address, "@") {
		return true
	}
	host := hostOf(address)
	if isLoopbackHost(host) {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := look(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return false
	}
	for _, ip := range found {
		if !ip.Unmap().IsLoopback() {
			return false
		}
	}
	return true
}

// hostOf strips the port and the brackets of an address or a Host header.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	if strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]") {
		return address[1 : len(address)-1]
	}
	return address
}

// isLoopbackHost tells whether a host without port is "localhost" or an address of loopback. Other names are not, whatever
// they resolve to: an attacker's name may resolve to 127.0.0.1.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
