// Package relaytest has what tests of several servers need: a NATS server in the process, and lines that can be cut and frozen.
package relaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// Password is that of every NATS that Bus starts: it must be nowhere in logs.
const Password = "password-of-the-bus"

// Bus starts a NATS server and returns its URL. Its user may do what docs/cluster.md says that it needs, and no more. It stops when
// the test ends.
func Bus(t testing.TB) string { return bus(t, "nats", nil) }

// TLSBus is Bus with TLS, with the file of the certificate that it shows.
func TLSBus(t testing.TB) (url, caFile string) {
	t.Helper()
	certificate, _ := Certificate(t)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600))
	return bus(t, "tls", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}), caFile
}

func bus(t testing.TB, scheme string, config *tls.Config) string {
	t.Helper()
	needs := &server.SubjectPermission{Allow: []string{"gohub.v1.>", "_INBOX.>"}}
	bus, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, TLSConfig: config, TLSTimeout: 5,
		Users: []*server.User{{Username: "gohub", Password: Password, Permissions: &server.Permissions{Publish: needs, Subscribe: needs}}},
	})
	require.NoError(t, err)
	bus.Start()
	t.Cleanup(func() {
		bus.Shutdown()
		bus.WaitForShutdown()
	})
	require.True(t, bus.ReadyForConnections(10*time.Second))
	return (&url.URL{Scheme: scheme, User: url.UserPassword("gohub", Password), Host: bus.Addr().String()}).String()
}

// Line passes connections on to an address, and can be cut and frozen.
type Line struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	thawed *sync.Cond // of mu
	cut    bool
	frozen bool
	ends   map[net.Conn]struct{}
}

// NewLine opens a line to the server of a URL, and returns the URL that leads through it. It ends with the test.
func NewLine(t testing.TB, to string) (line *Line, through string) {
	t.Helper()
	parsed, err := url.Parse(to)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &Line{listener: listener, target: parsed.Host, ends: map[net.Conn]struct{}{}}
	l.thawed = sync.NewCond(&l.mu)
	l.running.Go(l.accept)
	t.Cleanup(func() {
		listener.Close()
		l.Cut()
		l.running.Wait()
	})
	parsed.Host = listener.Addr().String()
	return l, parsed.String()
}

// Cut ends all connections, and refuses others until Heal.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.frozen = true, false
	for end := range l.ends {
		end.Close()
	}
	l.thawed.Broadcast()
}

// Freeze has nothing pass until Heal; the connections stay, and do not know.
func (l *Line) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

// Heal lets everything pass again.
func (l *Line) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.frozen = false, false
	l.thawed.Broadcast()
}

func (l *Line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(client) })
	}
}

func (l *Line) serve(client net.Conn) {
	defer client.Close()
	target, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer target.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.ends[client], l.ends[target] = struct{}{}, struct{}{}
	l.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() { l.pass(target, client) })
	l.pass(client, target)
	up.Wait()
	l.mu.Lock()
	delete(l.ends, client)
	delete(l.ends, target)
	l.mu.Unlock()
}

// pass copies until an end breaks, and closes both then.
func (l *Line) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.frozen {
			l.thawed.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Certificate makes one for 127.0.0.1, and the pool that vouches for it.
func Certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gohub"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, pool
}
