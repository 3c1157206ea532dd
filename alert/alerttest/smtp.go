package alerttest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/mail"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is one accepted message.
type Mail struct {
	From string
	To   []string
	// User is who logged in, empty for nobody.
	User string
	// Encrypted tells whether the connection was.
	Encrypted bool
	// Raw is the message as it came, and Message the same parsed, headers still encoded.
	Raw     []byte
	Message *mail.Message
}

// SMTPOptions choose what the server asks for.
type SMTPOptions struct {
	// Username and Password are asked for if they are given.
	Username, Password string
	// TLS makes it encrypted from the first byte, StartTLS offers STARTTLS. With neither, the server has no encryption.
	TLS, StartTLS bool
}

// SMTP stands in for a mail server. Its certificate is for 127.0.0.1 and localhost.
type SMTP struct {
	// Host and Port are its address.
	Host string
	Port int
	// CA is the certificate to trust, as PEM.
	CA []byte

	options SMTPOptions
	server  *smtp.Server
	done    chan struct{}
	got     *box[Mail]

	mu       sync.Mutex
	failures []error
	rcpts    map[string]error
	sessions int
}

// NewSMTP starts a server. Close it.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	certificate, ca, err := selfSigned()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &SMTP{
		Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, CA: ca,
		options: o, done: make(chan struct{}), got: newBox[Mail](), rcpts: map[string]error{},
	}
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		s.sessions++
		s.mu.Unlock()
		return &session{server: s, conn: c}, nil
	}))
	s.server.Domain = "localhost"
	s.server.MaxMessageBytes = 4 << 20
	s.server.ReadTimeout, s.server.WriteTimeout = 10*time.Second, 10*time.Second
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if o.StartTLS {
		s.server.TLSConfig = config
	}
	if o.TLS {
		listener = tls.NewListener(listener, config)
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// Close stops the server.
func (s *SMTP) Close() {
	_ = s.server.Close()
	<-s.done
}

// Fail makes the next messages fail at their MAIL command with an SMTP code each, as 451 or 550.
func (s *SMTP) Fail(codes ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, code := range codes {
		s.failures = append(s.failures, reply(code))
	}
}

// FailRecipient refuses a recipient with an SMTP code, always.
func (s *SMTP) FailRecipient(address string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcpts[address] = reply(code)
}

func reply(code int) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: "refused by the test"}
}

// Sessions returns how many connections there were that got as far as a greeting.
func (s *SMTP) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Mails returns the accepted messages.
func (s *SMTP) Mails() []Mail { return s.got.all() }

// Wait returns the accepted messages once there are n, or the context's error.
func (s *SMTP) Wait(ctx context.Context, n int) ([]Mail, error) { return s.got.wait(ctx, n) }

// session is one connection.
type session struct {
	server *SMTP
	conn   *smtp.Conn
	user   string
	mail   Mail
}

func (s *session) AuthMechanisms() []string {
	if s.server.options.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.server.options.Username || password != s.server.options.Password {
			return smtp.ErrAuthFailed
		}
		s.user = username
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.options.Username != "" && s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if len(s.server.failures) > 0 {
		err := s.server.failures[0]
		s.server.failures = s.server.failures[1:]
		return err
	}
	_, encrypted := s.conn.TLSConnectionState()
	s.mail = Mail{From: from, User: s.user, Encrypted: encrypted}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if err := s.server.rcpts[to]; err != nil {
		return err
	}
	s.mail.To = append(s.mail.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	var err error
	if s.mail.Raw, err = io.ReadAll(r); err != nil {
		return err
	}
	if s.mail.Message, err = mail.ReadMessage(bytes.NewReader(s.mail.Raw)); err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "malformed message"}
	}
	s.server.got.add(s.mail)
	return nil
}

func (s *session) Reset()        { s.mail = Mail{} }
func (s *session) Logout() error { return nil }

// selfSigned makes a certificate for this machine's loopback.
func selfSigned() (tls.Certificate, []byte, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alerttest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
