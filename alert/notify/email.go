package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// maxEmailBody bounds a message's text in UTF-16 units: longer than anybody reads.
const maxEmailBody = 50_000

// authentication is what is offered to the SMTP server, best first. The library itself refuses PLAIN and LOGIN on a
// connection that is not encrypted.
var authentication = []gomail.SMTPAuthType{
	gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
}

// emailSender sends to one recipient. Each recipient gets a message of its own, because a server that refuses one of
// several recipients makes the message fail for all.
type emailSender struct {
	config   Email
	password string
	to       string
}

func (e Email) senders(add func(sender, scrubber)) error {
	password, err := readSecret(e.Password, e.PasswordFile)
	if err != nil {
		return fmt.Errorf("email %q: password_file: %w", e.Name, err)
	}
	if _, err := tlsConfig(e.CAFile); err != nil {
		return fmt.Errorf("email %q: %w", e.Name, err)
	}
	if e.TLS == "" {
		e.TLS = StartTLS
	}
	if e.Port == 0 {
		e.Port = map[TLSMode]int{StartTLS: 587, ImplicitTLS: 465, NoTLS: 25}[e.TLS]
	}
	// AUTH PLAIN sends user and password in one base64 text.
	secrets := newScrubber(password, plainCredentials(e.Username, password))
	for _, to := range e.To {
		add(&emailSender{config: e, password: password, to: to}, secrets)
	}
	return nil
}

func plainCredentials(user, password string) string {
	if password == "" {
		return ""
	}
	return "\x00" + user + "\x00" + password
}

func (s *emailSender) send(ctx context.Context, m message) error {
	mail, err := s.compose(m)
	if err != nil {
		return permanent(err)
	}
	client, closeAll, err := s.client(ctx)
	if err != nil {
		return permanent(err)
	}
	// The library keeps a connection whose greeting or login failed, and does not stop when the context ends.
	defer closeAll()
	defer context.AfterFunc(ctx, closeAll)()

	err = client.DialAndSendWithContext(ctx, mail)
	if err == nil || mail.IsDelivered() {
		// What goes wrong while saying goodbye must not send the message twice.
		return nil
	}
	if code := replyCode(err); code >= 500 && code < 600 {
		return permanent(err)
	}
	return err
}

// replyCode is the SMTP server's code, 0 if the error is not an answer of the server.
func replyCode(err error) int {
	var refused *gomail.SendError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code
	}
	return 0
}

// compose makes the message. The library encodes what is in headers; the text has no control characters (plain).
func (s *emailSender) compose(m message) (*gomail.Msg, error) {
	from, err := mail.ParseAddress(s.config.From)
	if err != nil {
		return nil, errors.New("from is not an e-mail address")
	}
	to, err := mail.ParseAddress(s.to)
	if err != nil {
		return nil, errors.New("to is not an e-mail address")
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	msg.Subject(m.subject())
	msg.SetDateWithValue(m.time())
	msg.SetMessageID()
	// Holiday notes and the like must not answer (RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.body(maxEmailBody))
	return msg, nil
}

// client prepares the library's client for one message, and a function that closes every connection that it opened.
func (s *emailSender) client(ctx context.Context) (*gomail.Client, func(), error) {
	config, err := tlsConfig(s.config.CAFile)
	if err != nil {
		return nil, nil, err
	}
	config.ServerName = s.config.Host
	timeout := s.config.timeout()
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	conns := make(chan net.Conn, 1)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := directDial()(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conns <- conn
		return conn, nil
	}
	closeAll := func() {
		select {
		case conn := <-conns:
			_ = conn.Close()
		default:
		}
	}
	options := []gomail.Option{
		gomail.WithPort(s.config.Port),
		gomail.WithTimeout(timeout),
		gomail.WithTLSConfig(config),
		gomail.WithTLSPolicy(gomail.TLSMandatory),
	}
	switch s.config.TLS {
	case ImplicitTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithDialContextFunc(implicitTLS(dial, config)))
	case NoTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithDialContextFunc(dial))
	default:
		options = append(options, gomail.WithDialContextFunc(dial))
	}
	if s.config.Username != "" {
		options = append(options, gomail.WithUsername(s.config.Username), gomail.WithPassword(s.password),
			gomail.WithOpportunisticSMTPAuth(authentication...))
	}
	client, err := gomail.NewClient(s.config.Host, options...)
	return client, closeAll, err
}

// implicitTLS wraps every connection of dial in TLS.
func implicitTLS(dial dialFunc, config *tls.Config) gomail.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secure, nil
	}
}
