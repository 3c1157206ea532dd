package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// announce writes ready_file, if it is set, until the end. Whoever started the server learns from it that this server
// serves, which an answer at its address does not tell: another program may have that address.
func (a *App) announce() error {
	path := a.config.ReadyFile
	if path == "" {
		return nil
	}
	var text strings.Builder
	grpc := reachable(a.GRPCAddr())
	fmt.Fprintf(&text, "dashboard=%s://%s/\ngrpc=%s\n", a.scheme(), reachable(a.HTTPAddr()), grpc)
	if a.tls != nil {
		certificate, err := filepath.Abs(a.config.TLSCertFile)
		if err != nil {
			return fmt.Errorf("write ready_file: %w", err)
		}
		fmt.Fprintf(&text, "certificate=%s\ncertificate_name=%s\n", certificate, nameFor(a.tls.Certificates[0].Leaf, grpc))
	}
	// Whoever waits for the file must not see a part of it.
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("write ready_file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write ready_file: %w", err)
	}
	a.closers = append(a.closers, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove ready_file: %w", err)
		}
		return nil
	})
	return nil
}

// reachable returns an address by which programs of this machine reach a listener: where it listens on all, loopback.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// nameFor returns a name that the certificate is valid for: the address's own if it is, else the first.
func nameFor(certificate *x509.Certificate, address string) string {
	host, _, err := net.SplitHostPort(address)
	switch {
	case err == nil && certificate.VerifyHostname(host) == nil:
		return host
	case len(certificate.DNSNames) > 0:
		return strings.Replace(certificate.DNSNames[0], "*", "gohub", 1)
	case len(certificate.IPAddresses) > 0:
		return certificate.IPAddresses[0].String()
	default:
		return ""
	}
}
